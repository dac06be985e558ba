// Linear light to the picture: filmic curve, then the mean of each block of samples.
in vec2 at;
out vec4 colour;
uniform sampler2D scene;
uniform float exposure;
uniform float contrast;

vec3 filmic(vec3 x) {
    x *= exposure;
    // A gentle shoulder for each channel, with some of the light's own ratio kept.
    vec3 y = (x * (1.0 + x * 0.10)) / (1.0 + x * 0.85);
    float l = luminance(x), m = (l * (1.0 + l * 0.10)) / (1.0 + l * 0.85);
    y = mix(y, x * (m / max(l, 1e-4)), 0.25);
    return clamp(y, 0.0, 1.0);
}

vec3 encode(vec3 x) {
    return mix(x * 12.92, 1.055 * pow(x, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, x));
}

void main() {
    ivec2 p = ivec2(gl_FragCoord.xy) * 2;
    vec3 sum = vec3(0.0);
    float cover = 0.0;
    float total = 0.0;
    for (int j = -1; j < 3; j++)
        for (int i = -1; i < 3; i++) {
            float w = (i == -1 || i == 2 ? 0.5 : 1.0) * (j == -1 || j == 2 ? 0.5 : 1.0);
            ivec2 q = clamp(p + ivec2(i, j), ivec2(0), textureSize(scene, 0) - 1);
            vec4 s = texelFetch(scene, q, 0);
            sum += w * filmic(s.rgb);
            cover += w * s.a;
            total += w;
        }
    vec3 c = encode(sum / total);
    c = mix(c, c * c * (3.0 - 2.0 * c), contrast);
    vec2 d = at - 0.5;
    c *= 1.0 - 0.18 * dot(d, d);
    colour = vec4(c, clamp(cover / total, 0.0, 1.0));
}

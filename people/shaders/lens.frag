in vec3 position;
in vec3 normal;
in vec3 ambient;
out vec4 colour;
uniform float opacity;   // 0 no glasses
uniform vec4 tint;       // colour and strength of the glass

void main() {
    vec3 n = normalize(normal);
    vec3 v = normalize(camera.xyz - position);
    if (dot(n, v) < 0.0) n = -n;
    vec3 mirror = reflect(-v, n);
    float grazing = pow(1.0 - max(dot(n, v), 0.0), 4.0);
    float window = smoothstep(0.90, 0.97, dot(mirror, normalize(key_direction.xyz + vec3(0.0, 0.35, 0.0))));
    vec3 shine = key_colour.rgb * window * 0.16 + ambient * (0.008 + 0.4 * grazing);
    float alpha = clamp(tint.w + 0.03, 0.0, 1.0);
    colour = vec4((tint.rgb * ambient * alpha + shine) * opacity, alpha * opacity);
}

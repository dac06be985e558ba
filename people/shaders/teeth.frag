in vec3 position;
in vec3 normal;
in vec3 rest;
in vec2 uv;
in vec3 mask;
in vec3 ambient;
out vec4 colour;

void main() {
    vec3 n = normalize(normal);
    vec3 v = normalize(camera.xyz - position);
    bool tooth = mask.z < 0.5;
    vec3 base = tooth ? vec3(0.80, 0.75, 0.66) : vec3(0.42, 0.13, 0.12);
    float shadow = key_light(position + n * 0.02, 0.006);
    // Light reaches teeth through lips and cheeks: they are never black.
    float deep = smoothstep(1.00, 1.38, rest.z);
    vec3 light = (ambient * 1.3 + key_colour.rgb * (0.22 + 0.7 * shadow * clamp(dot(n, key_direction.xyz) * 0.6 + 0.4, 0.0, 1.0)) + fill_colour.rgb * 0.3) * mix(0.06, 1.0, deep);
    if (tooth) {
        // Gaps between the teeth, and gums where they begin.
        float x = abs(rest.x);
        float edge = 1.0;
        edge *= 1.0 - 0.55 * exp(-square(x / 0.007));
        edge *= 1.0 - 0.5 * exp(-square((x - 0.082) / 0.007));
        edge *= 1.0 - 0.5 * exp(-square((x - 0.150) / 0.008));
        edge *= 1.0 - 0.5 * exp(-square((x - 0.212) / 0.009));
        base *= mix(vec3(0.62, 0.50, 0.42), vec3(1.0), edge);
    }
    vec3 h = normalize(key_direction.xyz + v);
    vec3 shine = key_colour.rgb * pow(max(dot(n, h), 0.0), 60.0) * 0.35 * shadow * deep;
    colour = vec4(base * light + shine, 1.0);
}

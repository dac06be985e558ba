// The key light's soft shadow: nine fixed taps over a disc, bilinear each.
uniform sampler2DShadow key_depth;

const vec2 DISC[9] = vec2[9](
    vec2(-0.85, -0.40), vec2(0.88, -0.32), vec2(-0.05, -0.92), vec2(0.38, 0.85), vec2(-0.60, 0.70),
    vec2(0.55, 0.25), vec2(0.25, -0.42), vec2(-0.45, 0.10), vec2(0.05, 0.25));

float key_light(vec3 point, float bias) {
    vec3 p = (key_matrix * vec4(point, 1.0)).xyz;
    p.z -= bias;
    float radius = key_direction.w / 768.0;
    float sum = 0.0;
    for (int i = 0; i < 9; i++) sum += texture(key_depth, vec3(p.xy + DISC[i] * radius, p.z));
    return sum / 9.0;
}

// The same with four taps, for the points of strands.
float key_light_coarse(vec3 point, float bias) {
    vec3 p = (key_matrix * vec4(point, 1.0)).xyz;
    p.z -= bias;
    float radius = 0.6 * key_direction.w / 768.0;
    return 0.25 * (texture(key_depth, vec3(p.xy + DISC[0] * radius, p.z)) +
                   texture(key_depth, vec3(p.xy + DISC[1] * radius, p.z)) +
                   texture(key_depth, vec3(p.xy + DISC[3] * radius, p.z)) +
                   texture(key_depth, vec3(p.xy + DISC[6] * radius, p.z)));
}

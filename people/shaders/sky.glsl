// Ambient light at a vertex: SKY directions, each with a depth map that sees head and hair.
uniform sampler2DShadow sky_depth;

vec3 sky_light(vec3 point, vec3 normal, float offset, float wrap) {
    vec3 sum = vec3(0.0);
    for (int i = 0; i < SKY; i++) {
        float facing = (dot(normal, sky_direction[i].xyz) + wrap) / (1.0 + wrap);
        if (facing > 0.0) {
            vec3 p = (sky_matrix[i] * vec4(point + normal * offset, 1.0)).xyz;
            p.z -= 0.012;
            float seen = texture(sky_depth, p);
            sum += sky_colour[i].rgb * facing * seen;
        }
    }
    return sum;
}

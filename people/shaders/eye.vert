in vec3 in_local;           // on the unit sphere, +z through the pupil
uniform mat4 eye_matrix;    // unit sphere to world
out vec3 local;
out vec3 position;
out vec3 ambient;

void main() {
    local = in_local;
    // The cornea stands out a little from the white.
    float bulge = 1.0 + 0.045 * smoothstep(0.80, 1.0, in_local.z);
    position = (eye_matrix * vec4(in_local * bulge, 1.0)).xyz;
    vec3 n = normalize(mat3(eye_matrix) * in_local);
    ambient = sky_light(position, n, 0.03, 0.25);
    gl_Position = projection * vec4(position, 1.0);
}

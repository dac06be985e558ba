in vec3 in_position;
in vec3 in_normal;
in vec3 in_rest;
in vec2 in_uv;
in vec3 in_mask;   // mouth, ears, tongue
uniform float inflate;
out vec3 position;
out vec3 normal;
out vec3 rest;
out vec2 uv;
out vec3 mask;
out vec3 ambient;
out vec2 around;   // place on the maps over the rest head, as `around` in paint.py

void main() {
    position = in_position + in_normal * inflate;
    normal = in_normal;
    rest = in_rest;
    uv = in_uv;
    mask = in_mask;
    around = vec2(atan(in_rest.x, in_rest.z - 0.25) / 3.8 + 0.5, (in_rest.y - 5.4) / 3.3);
    ambient = sky_light(position, in_normal, 0.035, 0.15);
    gl_Position = projection * vec4(position, 1.0);
}

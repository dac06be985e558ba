in vec3 in_before;
in vec3 in_position;
in vec3 in_after;
in vec4 in_static;
in float in_width;
uniform mat4 matrix;
uniform vec3 toward;    // direction to the lamp
uniform float width;
uniform float taper;
void main() {
    vec3 side = cross(in_after - in_before, toward);
    side /= max(length(side), 1e-6);
    float half_width = 0.5 * width * in_width * mix(1.0, taper, in_static.y * in_static.y);
    gl_Position = matrix * vec4(in_position + side * half_width * in_static.x, 1.0);
}

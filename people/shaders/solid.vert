// Things of one material: frames of glasses, rings, hats.
in vec3 in_position;
in vec3 in_normal;
out vec3 position;
out vec3 normal;
out vec3 ambient;
void main() {
    position = in_position;
    normal = in_normal;
    ambient = vec3(0.0);
    for (int i = 0; i < SKY; i++)
        ambient += sky_colour[i].rgb * clamp(dot(normal, sky_direction[i].xyz) * 0.7 + 0.3, 0.0, 1.0);
    gl_Position = projection * vec4(position, 1.0);
}

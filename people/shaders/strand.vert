// A strand as a ribbon that faces the camera; every point is in the buffer twice, once a side.
in vec3 in_before;
in vec3 in_position;
in vec3 in_after;
in vec4 in_static;     // side -1 or 1, place along the strand 0 to 1, random number, layer 0 to 1
in float in_width;
uniform float width;
uniform float taper;   // width of the tip as a share of the root's
uniform vec4 volume;   // centre of the head, for normals of the hair's outside; w: height below which it is an axis
uniform vec3 shade;    // ambient share at the root and below other hair, depth offset, softness of normals
out vec3 position;
out vec3 tangent;
out vec3 outside;
out vec4 strand;
out vec3 ambient;
out float shadow;

void main() {
    vec3 along = in_after - in_before;
    float size = length(along);
    tangent = size > 1e-6 ? along / size : vec3(0.0, -1.0, 0.0);
    vec3 view = normalize(camera.xyz - in_position);
    vec3 side = cross(tangent, view);
    side /= max(length(side), 0.15);
    float t = in_static.y;
    float half_width = 0.5 * width * in_width * mix(1.0, taper, t * t);
    position = in_position + side * half_width * in_static.x;
    vec3 centre = vec3(volume.x, min(in_position.y, volume.y), volume.z);
    outside = normalize(in_position - centre);
    strand = vec4(t, in_static.z, in_static.w, in_static.x);
    ambient = vec3(0.0);
    for (int i = 0; i < SKY; i++)
        ambient += sky_colour[i].rgb * clamp(dot(outside, sky_direction[i].xyz) * 0.7 + 0.3, 0.0, 1.0);
    shadow = mix(0.12, 1.0, key_light_coarse(in_position + outside * 0.03, 0.02));
    gl_Position = projection * vec4(position + view * shade.y, 1.0);
}

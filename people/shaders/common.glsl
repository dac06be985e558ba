// Shared by all programs: the scene's uniform block and the light that falls on a point.
const int SKY = 8;

layout(std140) uniform Scene {
    mat4 projection;        // world to clip space, the FFHQ crop included
    mat4 key_matrix;        // world to the key light's depth map, 0 to 1
    mat4 sky_matrix[SKY];   // world to one tile of the atlas of ambient depth maps, 0 to 1
    vec4 sky_direction[SKY];
    vec4 sky_colour[SKY];   // radiance times the solid angle of each ambient direction
    vec4 camera;
    vec4 key_direction;     // w: radius of the soft shadow in texels
    vec4 key_colour;        // w: size of the lamp's reflection in the eye
    vec4 fill_direction;
    vec4 fill_colour;
    vec4 rim_direction;
    vec4 rim_colour;
    vec4 catch_direction;
};

const float PI = 3.14159265;

float square(float x) { return x * x; }

float luminance(vec3 c) { return dot(c, vec3(0.2126, 0.7152, 0.0722)); }

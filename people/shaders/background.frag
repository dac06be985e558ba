// A room or a street out of focus: a slow gradient and soft discs of light.
in vec2 at;
out vec4 colour;
uniform vec3 low;
uniform vec3 high;
uniform vec4 discs[14];        // x, y, radius, softness
uniform vec3 disc_colour[14];
uniform vec3 tilt;             // direction of the gradient, offset

void main() {
    float t = smoothstep(0.0, 1.0, dot(at - 0.5, tilt.xy) + 0.5 + tilt.z);
    vec3 c = mix(low, high, t);
    for (int i = 0; i < 14; i++) {
        float d = length((at - discs[i].xy) * vec2(1.0, 0.9));
        float inside = 1.0 - smoothstep(discs[i].z * (1.0 - discs[i].w), discs[i].z * (1.0 + discs[i].w), d);
        c += disc_colour[i] * inside;
    }
    colour = vec4(max(c, 0.0), 0.0);
}

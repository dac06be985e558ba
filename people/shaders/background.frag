// A room or a street out of focus: a slow gradient, soft windows and shelves, discs of light.
in vec2 at;
out vec4 colour;
uniform vec3 low;
uniform vec3 high;
uniform vec4 discs[14];        // x, y, radius, softness; a negative radius is half the width of an upright block
uniform vec3 disc_colour[14];
uniform vec4 pattern;          // frequency, turn, strength, checks
uniform vec3 tilt;             // direction of the gradient, offset

void main() {
    float t = smoothstep(0.0, 1.0, dot(at - 0.5, tilt.xy) + 0.5 + tilt.z);
    vec3 c = mix(low, high, t), wall = c;
    for (int i = 0; i < 14; i++) {
        vec2 p = abs(at - discs[i].xy);
        float r = abs(discs[i].z);
        float d = discs[i].z > 0.0 ? length(p) : max(p.x, p.y * 0.45);
        float inside = 1.0 - smoothstep(r * (1.0 - discs[i].w), r * (1.0 + discs[i].w), d);
        c += disc_colour[i] * inside;
    }
    if (pattern.z > 0.0) {
        vec2 q = vec2(cos(pattern.y) * at.x + sin(pattern.y) * at.y, cos(pattern.y) * at.y - sin(pattern.y) * at.x);
        float s = smoothstep(-0.2, 0.2, sin(q.x * pattern.x * 6.283));
        s = mix(s, abs(s - smoothstep(-0.2, 0.2, sin(q.y * pattern.x * 6.283))), pattern.w);
        c = mix(c, (c.brg + 0.15) * 1.4, s * pattern.z);
    }
    colour = vec4(max(c, wall * 0.22), 0.0);
}

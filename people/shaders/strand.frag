in vec3 position;
in vec3 tangent;
in vec3 outside;
in vec4 strand;    // place along, random, layer, side
in vec3 ambient;
in float shadow;
out vec4 colour;
uniform vec3 hair;       // albedo
uniform vec3 tip;        // albedo at the tips
uniform vec4 cut;        // strands above this plane are hidden, under a hat
uniform float cover;     // of the mask: 0.5 hair, 1 strands of the face
uniform float grey;      // share of grey strands
uniform vec3 gloss;      // strength of the white highlight, of the coloured one, roughness
uniform vec4 root;       // darkening at the root, variation, thickness for the shadow, depth darkening

// A highlight where the strand's angles to the lamp and to the camera add up to ``shift``.
float lobe(float angles, float shift, float width) {
    float x = square((angles - shift) / width);
    return 1.0 / square(1.0 + 0.5 * x);
}

float angle(float sine) { return sine * (1.0 + 0.2 * sine * sine); }

vec3 lit(vec3 t, vec3 n, float to_camera, vec3 l, vec3 base, float shift, float shiny) {
    float tl = dot(t, l);
    float sine = sqrt(max(1.0 - tl * tl, 0.0));
    float nl = dot(n, l);
    vec3 out_ = base * (0.25 + 0.75 * sine) * clamp((nl + 0.35) / 1.35, 0.0, 1.0);
    if (shiny > 0.0) {
        float angles = angle(tl) + to_camera;
        float facing = clamp(nl * 1.5 + 0.5, 0.0, 1.0) * shiny;
        out_ += gloss.x * lobe(angles, -0.12 + shift, gloss.z) * 0.045 * facing;
        out_ += gloss.y * lobe(angles, 0.20 + shift, gloss.z * 1.9) * sqrt(base) * 0.16 * facing;
    }
    return out_;
}

void main() {
    if (dot(cut.xyz, position) + cut.w > 0.0) discard;
    vec3 t = normalize(tangent);
    vec3 n = normalize(outside);
    n = normalize(n - t * dot(n, t) * 0.7);
    vec3 v = normalize(camera.xyz - position);
    float to_camera = angle(dot(t, v));
    float random = strand.y;
    float shift = (fract(random * 17.0) - 0.5) * 0.16;
    vec3 base = mix(hair, tip, strand.x);
    float silver = clamp(grey * 1.5 - 0.5 * fract(random * 31.0), 0.0, 1.0) * 0.92;
    base = mix(base, vec3(0.42, 0.41, 0.40), silver);
    base *= 1.0 + root.y * (fract(random * 7.0) - 0.5);
    base = mix(base, base * base / max(luminance(base), 0.01), 0.25 * (fract(random * 13.0) - 0.5));
    // Light is lost between strands: below others, and near the root.
    float depth = mix(1.0 - root.w, 1.0, strand.z) * mix(1.0 - root.x, 1.0, smoothstep(0.0, 0.35, strand.x));
    vec3 out_ = key_colour.rgb * lit(t, n, to_camera, key_direction.xyz, base, shift, 1.0) * shadow * depth;
    out_ += fill_colour.rgb * lit(t, n, to_camera, fill_direction.xyz, base, shift, 0.0) * depth * 0.8;
    out_ += rim_colour.rgb * lit(t, n, to_camera, rim_direction.xyz, base, shift, 1.0) * depth;
    out_ += ambient * base * depth * 0.85;
    colour = vec4(out_, cover);
}

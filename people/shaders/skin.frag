in vec3 position;
in vec3 normal;
in vec3 rest;
in vec2 uv;
in vec3 mask;
in vec3 ambient;
in vec2 around;
out vec4 colour;

uniform sampler2D paint;    // redness, darkness, freckles, mottling; over angle and height
uniform sampler2D growth;   // beard, scalp, crown that goes bald
uniform sampler2D relief;   // pores, lines of age, lines of the forehead, lines of a smile
uniform sampler2D parts;    // lips, eyelids; over the UV map of the face
uniform vec3 skin;          // albedo, linear
uniform vec3 blood;         // albedo where blood shows: redness and lips
uniform vec3 lip_paint;     // xyz albedo of painted lips
uniform float lip_strength;
uniform vec4 amounts;       // freckles, mottling, dark eye sockets, blush
uniform vec4 lines;         // weights of the relief's channels
uniform vec3 hair;          // albedo of beard hair under its strands
uniform vec3 scalp;         // albedo of the scalp under hair
uniform vec3 stubble;       // beard shadow, scalp shadow, baldness
uniform vec4 lid_paint;     // albedo and strength of eye shadow
uniform vec4 face_paint;    // albedo and strength; outside the domain
uniform float gloss;

vec3 bumped(vec3 n, float height) {
    vec3 dx = dFdx(position), dy = dFdy(position);
    float hx = dFdx(height), hy = dFdy(height);
    vec3 r1 = cross(dy, n), r2 = cross(n, dx);
    float det = dot(dx, r1);
    vec3 grad = (r1 * hx + r2 * hy) * sign(det);
    return normalize(abs(det) * n - grad);
}

float ggx(float nh, float rough) {
    float a = square(rough * rough);
    return a / (PI * square(nh * nh * (a - 1.0) + 1.0));
}

float fifth(float x) { return x * x * x * x * x; }

// Reflection of one lamp and Fresnel's share; the key light's has a second, narrower lobe.
float specular(vec3 n, vec3 v, vec3 l, float rough, float second) {
    vec3 h = normalize(l + v);
    float nh = max(dot(n, h), 0.0), nl = max(dot(n, l), 0.0), nv = max(dot(n, v), 0.08);
    float f = 0.028 + 0.972 * fifth(1.0 - max(dot(h, v), 0.0));
    float k = square(rough + 1.0) / 8.0;
    float g = 1.0 / ((nl * (1.0 - k) + k) * (nv * (1.0 - k) + k));
    float d = ggx(nh, rough);
    if (second > 0.0) d = mix(d, ggx(nh, rough * 0.6), second);
    return d * f * g * nl / 4.0;
}

// Diffuse light under the skin: red travels farthest, so it wraps farthest and blurs the bumps.
vec3 scattered(vec3 fine, vec3 smooth_, vec3 l) {
    vec3 d = vec3(dot(mix(fine, smooth_, 0.75), l), dot(mix(fine, smooth_, 0.35), l),
                  dot(mix(fine, smooth_, 0.2), l));
    vec3 wrap = vec3(0.30, 0.12, 0.08);
    vec3 lit = clamp((d + wrap) / (1.0 + wrap), 0.0, 1.0);
    return mix(lit * lit, lit, 0.6);
}

void main() {
    vec3 n = normalize(normal);
    vec3 v = normalize(camera.xyz - position);
    vec2 at = around;
    vec4 tint = texture(paint, at);
    vec4 grown = texture(growth, at);
    vec4 height = texture(relief, at) - 0.5;
    vec2 part = texture(parts, uv).rg;
    float front = step(0.0, rest.z - 0.2);
    float lips = part.r * front * (1.0 - mask.x * 0.0);
    float mouth = mask.x;

    float bump = dot(height, lines) * (1.0 - 0.5 * lips);
    vec3 fine = bumped(n, bump);

    // Albedo.
    float redness = tint.r * amounts.w + mask.y * 0.55;
    vec3 base = mix(skin, blood, clamp(redness, 0.0, 1.0) * 0.62);
    base *= 1.0 + amounts.y * (tint.a - 0.5);
    base *= 1.0 - amounts.z * tint.g * vec3(0.85, 1.0, 0.92);
    base = mix(base, skin * vec3(0.45, 0.30, 0.22), tint.b * amounts.x);
    base *= 1.0 + min(dot(height, lines * vec4(0.0, 1.0, 1.0, 1.0)), 0.0) * vec3(5.0, 7.0, 7.0);
    float fair = smoothstep(0.08, 0.5, luminance(skin));
    vec3 natural = mix(base, skin, 0.5) * mix(vec3(0.95, 0.66, 0.72), vec3(0.80, 0.46, 0.53), fair);
    vec3 lip = mix(natural, lip_paint, lip_strength);
    base = mix(base, lip, lips);
    base = mix(base, hair, grown.r * stubble.x * (1.0 - lips));
    base = mix(base, scalp, grown.g * stubble.y * (1.0 - smoothstep(0.1, 0.9, stubble.z * grown.b * 1.6)));
    base = mix(base, lid_paint.rgb, lid_paint.w * part.g * front * 0.6);
    if (face_paint.w > 0.0) {
        float cheek = smoothstep(0.12, 0.16, abs(rest.x)) * smoothstep(0.60, 0.55, abs(rest.x)) * smoothstep(6.72, 6.76, rest.y) * smoothstep(7.12, 7.08, rest.y);
        float stripes = smoothstep(-0.2, 0.2, sin((rest.y + 0.25 * abs(rest.x)) * 48.0));
        float brow = smoothstep(7.62, 7.66, rest.y) * smoothstep(7.90, 7.86, rest.y) * smoothstep(0.30, 0.26, abs(rest.x));
        base = mix(base, face_paint.rgb, max(cheek * stripes, brow) * front * (0.4 + 0.6 * face_paint.w));
    }
    base = mix(base, vec3(0.30, 0.075, 0.065), mouth);

    float shadow = key_light(position + n * 0.03, 0.004);
    vec3 light = key_colour.rgb * scattered(fine, n, key_direction.xyz) * vec3(pow(shadow, 0.62), shadow, shadow);
    light += fill_colour.rgb * scattered(fine, n, fill_direction.xyz) * clamp(luminance(ambient) * 1.6, 0.0, 1.0);
    light += rim_colour.rgb * scattered(fine, n, rim_direction.xyz) * 0.6;
    vec3 sky = ambient * mix(1.0, clamp(dot(fine, n) * 4.0 - 3.0, 0.0, 1.0), 0.3);
    // Light that left the skin and came back is red: dark creases are warm.
    float open = clamp(luminance(ambient) * 1.8, 0.0, 1.0);
    sky += (1.0 - open) * vec3(0.060, 0.020, 0.014) * luminance(key_colour.rgb + sky_colour[0].rgb * 3.0) * skin;
    light += sky;

    vec3 out_ = base * light;
    float wet = lips * 0.75 + mouth;
    float rough = mix(mix(0.52, 0.40, gloss), 0.34, clamp(wet, 0.0, 1.0));
    float strength = mix(1.0, 1.7, clamp(wet, 0.0, 1.0)) * (0.40 + 0.65 * gloss) * (1.0 - 0.6 * grown.r * stubble.x);
    vec3 sheen = normalize(mix(n, fine, 0.55));
    out_ += key_colour.rgb * specular(sheen, v, key_direction.xyz, rough, 0.3) * shadow * strength;
    out_ += rim_colour.rgb * specular(n, v, rim_direction.xyz, rough, 0.0) * 0.4 * strength;
    out_ += fill_colour.rgb * specular(sheen, v, fill_direction.xyz, rough, 0.0) * open * strength;
    // The room mirrored at grazing angles.
    float grazing = fifth(1.0 - max(dot(n, v), 0.0));
    out_ += ambient * (0.02 + 0.25 * grazing) * strength * 0.6;
    float face = smoothstep(0.25, 0.45, rest.z) * smoothstep(6.0, 6.15, rest.y + 0.25 * (rest.z - 1.0));
    colour = vec4(out_, 0.5 + 0.5 * face);
}

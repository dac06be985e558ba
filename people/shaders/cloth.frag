in vec3 position;
in vec3 normal;
in vec3 rest;
in vec2 uv;
in vec3 mask;
in vec3 ambient;
out vec4 colour;
uniform vec3 cloth;      // albedo
uniform vec4 neck;       // height of the neckline at the front, at the back, width, depth of the V
uniform float scarf;     // 1: a scarf around the head instead
uniform sampler2D weave;

// Distance below the neckline along the body, in rest space.
float below(vec3 p) {
    float around = atan(p.x, p.z - 0.15);
    float c = 0.5 + 0.5 * cos(around);
    float round_ = mix(neck.y, neck.x, smoothstep(0.0, 1.0, c));
    float v = neck.w * exp(-square(abs(p.x) / 0.20)) * step(0.0, p.z);
    return round_ - v - p.y + neck.z * smoothstep(0.45, 0.9, length(vec2(p.x, p.z - 0.1)));
}

void main() {
    // A scarf leaves the face free: an oval.
    float oval = 0.45 * (length((rest.xy - vec2(0.0, 7.08)) / vec2(0.57, 0.78)) - 1.0);
    oval = mix(0.4, oval, smoothstep(0.1, 0.45, rest.z));
    float d = mix(below(rest), oval, scarf);
    if (d < 0.0 || rest.y < 3.5 || abs(rest.x) > 2.5) discard;   // the bust ends in straight cuts
    vec3 n = normalize(normal);
    vec3 v = normalize(camera.xyz - position);
    float hem = smoothstep(0.0, 0.012, d) * (1.0 - smoothstep(0.085, 0.10, d));
    float seam = exp(-square((d - 0.098) / 0.010));
    float w = texture(weave, rest.xy * vec2(9.0, 9.0) + rest.zz * vec2(4.0, 0.0)).r - 0.5;
    float folds = texture(weave, rest.xy * vec2(0.25, 0.13) + vec2(0.0, rest.z * 0.1)).g - 0.5;
    vec3 dx = dFdx(position), dy = dFdy(position);
    float height = folds * 0.22 * smoothstep(0.1, 0.5, d) + 0.014 * hem + w * 0.004 - seam * 0.006;
    vec3 r1 = cross(dy, n), r2 = cross(n, dx);
    float det = dot(dx, r1);
    n = normalize(abs(det) * n - (r1 * dFdx(height) + r2 * dFdy(height)) * sign(det));
    vec3 base = cloth * (1.0 + 0.35 * w) * (1.0 - 0.25 * seam);
    float shadow = key_light(position + n * 0.03, 0.006);
    float l = clamp((dot(n, key_direction.xyz) + 0.15) / 1.15, 0.0, 1.0);
    vec3 light = key_colour.rgb * l * shadow + ambient
               + fill_colour.rgb * clamp(dot(n, fill_direction.xyz) * 0.6 + 0.4, 0.0, 1.0) * 0.8
               + rim_colour.rgb * clamp(dot(n, rim_direction.xyz), 0.0, 1.0);
    float fuzz = pow(1.0 - max(dot(n, v), 0.0), 3.0);
    base += cloth * fuzz * 0.35;
    base *= mix(0.55, 1.0, smoothstep(0.0, 0.02, d));
    colour = vec4(base * light, 0.5);
}

in vec3 local;
in vec3 position;
in vec3 ambient;
out vec4 colour;
uniform mat4 eye_matrix;
uniform vec3 iris_outer;
uniform vec3 iris_inner;
uniform float pupil;
uniform float redness;
uniform sampler2D iris_map;    // fibres of the iris over angle and radius, veins over angle and z

void main() {
    mat3 frame = mat3(normalize(eye_matrix[0].xyz), normalize(eye_matrix[1].xyz),
                      normalize(eye_matrix[2].xyz));
    vec3 p = normalize(local);
    vec3 n = normalize(frame * p);
    vec3 v = normalize(camera.xyz - position);
    vec3 view = v * frame;                     // into the eye's own frame

    // The iris lies behind the cornea: follow the refracted ray to its plane.
    vec3 ray = refract(-view, p, 0.75);
    float depth = (p.z - 0.86) / max(-ray.z, 0.2);
    vec3 q = p + ray * max(depth, 0.0) * 0.8;
    float r = length(q.xy) / 0.475;            // 1 at the limbus
    float angle = atan(q.y, q.x) / (2.0 * PI) + 0.5;
    vec2 fibre = texture(iris_map, vec2(angle, clamp(r, 0.0, 1.0) * 0.5)).rg;

    vec3 iris = mix(iris_inner, iris_outer, smoothstep(0.35, 0.75, r + (fibre.g - 0.5) * 0.35));
    iris *= 0.35 + 1.3 * smoothstep(0.2, 0.8, fibre.r);
    iris *= 1.0 - 0.85 * smoothstep(0.72, 1.0, r);
    iris = mix(vec3(0.004), iris, smoothstep(pupil - 0.05, pupil + 0.05, r));

    float veins = texture(iris_map, vec2(angle, 0.5 + 0.5 * clamp((1.0 - p.z) * 1.6, 0.0, 1.0))).b;
    float corner = smoothstep(0.35, 0.95, abs(p.x));
    vec3 white = vec3(0.56, 0.51, 0.475) * mix(vec3(1.0), vec3(0.80, 0.52, 0.46), corner * 0.75);
    white *= mix(vec3(1.0), vec3(0.85, 0.42, 0.38), veins * redness * (0.3 + corner));
    float limbus = smoothstep(0.90, 1.10, r);
    vec3 base = mix(iris, white, limbus);

    float shadow = key_light(position + n * 0.02, 0.006);
    float facing = clamp((dot(n, key_direction.xyz) + 0.35) / 1.35, 0.0, 1.0);
    // Light gathers on the side of the iris that is away from the lamp.
    vec3 lamp = key_direction.xyz * frame;
    float caustic = limbus < 0.5 ? 1.0 + 0.9 * clamp(-dot(normalize(q.xy + 1e-4), lamp.xy), 0.0, 1.0) * smoothstep(0.3, 0.9, r) : 1.0;
    vec3 light = ambient * 1.05 + key_colour.rgb * facing * (0.10 + 0.90 * shadow) * 0.85
               + fill_colour.rgb * clamp(dot(n, fill_direction.xyz) * 0.5 + 0.5, 0.0, 1.0) * 0.6 * clamp(luminance(ambient) * 2.0, 0.0, 1.0);
    vec3 out_ = base * light * caustic;

    // The cornea mirrors the lamp: always, as the lamp is brought into the eye's view.
    vec3 curved = normalize(frame * normalize(vec3(p.xy * mix(1.35, 1.0, smoothstep(0.8, 1.2, r)), p.z)));
    vec3 mirror = reflect(-v, curved);
    float size = key_colour.w;
    float lampness = smoothstep(cos(size * 1.35), cos(size * 0.75), dot(mirror, catch_direction.xyz));
    float open = clamp(luminance(ambient) * 3.0, 0.0, 1.0);
    out_ += lampness * (0.35 + 0.65 * open) * (key_colour.rgb * 0.42 + 0.22);
    float fresnel = 0.02 + 0.4 * pow(1.0 - max(dot(curved, v), 0.0), 4.0);
    out_ += ambient * fresnel * (0.4 + 0.6 * clamp(mirror.y + 0.3, 0.0, 1.0));
    colour = vec4(out_, 1.0);
}

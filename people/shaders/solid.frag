in vec3 position;
in vec3 normal;
in vec3 ambient;
out vec4 colour;
uniform vec3 base;
uniform vec3 metal;     // colour of the reflection at right angles
uniform float rough;
uniform float opacity;

void main() {
    vec3 n = normalize(normal);
    vec3 v = normalize(camera.xyz - position);
    if (dot(n, v) < 0.0) n = -n;
    float shadow = mix(0.4, 1.0, key_light(position + n * 0.03, 0.01));
    vec3 light = ambient + key_colour.rgb * clamp(dot(n, key_direction.xyz), 0.0, 1.0) * shadow
               + fill_colour.rgb * clamp(dot(n, fill_direction.xyz), 0.0, 1.0);
    vec3 f = metal + (1.0 - metal) * pow(1.0 - max(dot(n, v), 0.0), 5.0);
    vec3 h = normalize(key_direction.xyz + v);
    float a = square(rough * rough);
    float nh = max(dot(n, h), 0.0);
    float d = min(a / (PI * square(nh * nh * (a - 1.0) + 1.0)), 12.0);
    vec3 mirror = reflect(-v, n);
    vec3 room = mix(sky_colour[6].rgb, sky_colour[0].rgb, 0.5 + 0.5 * mirror.y) * float(SKY) * 0.5;
    vec3 out_ = base * light + f * (key_colour.rgb * d * 0.25 * shadow + room * 0.6 + ambient * 0.2);
    colour = vec4(out_, opacity);
}

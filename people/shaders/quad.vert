out vec2 at;   // 0 to 1, y up
void main() {
    at = vec2((gl_VertexID & 1) * 2.0, (gl_VertexID >> 1) * 2.0);
    gl_Position = vec4(at * 2.0 - 1.0, 0.9999, 1.0);
}

package endtoend

// The migration tools: every one creates a journal through Latchkey from a policy that names the protected columns, and
// beside it on a plaintext twin. A second run finds nothing to change, and what the tool reads back of the schema is equal
// on both.

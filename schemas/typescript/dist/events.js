// Generated from schemas/v1/incoming.schema.json by scripts/generate.mjs. Do not edit.
export {};

// Generated from schemas/v1/command.schema.json by scripts/generate.mjs. Do not edit.
export {};

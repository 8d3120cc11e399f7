import assert from "node:assert/strict";
import { test } from "node:test";
import { modelTypes, typeOf } from "../dist/schema.js";

test("a schema becomes the type of its values", () => {
  const cases = [
    [{ type: "string", enum: ["a", "b"] }, '"a" | "b"'],
    [{ type: ["integer", "null"] }, "number | null"],
    [{ type: "array", items: { type: "string" } }, "string[]"],
    [{ type: "array", items: { enum: [1, 2] } }, "(1 | 2)[]"],
    [{ anyOf: [{ type: "boolean" }, { $ref: "#/components/schemas/Limit" }] }, "boolean | Limit"],
    [{ type: "object" }, "Record<string, unknown>"],
    [{ type: "object", additionalProperties: { type: "number" } }, "Record<string, number>"],
    [{}, "unknown"],
    [undefined, "unknown"],
  ];
  for (const [schema, type] of cases) assert.equal(typeOf(schema), type);
});

test("names and texts of strangers stay names and comments", () => {
  const properties = { "a-b": { type: "string", description: "*/ evil(); /*" }, ok: { type: "null" } };
  const text = modelTypes([{ model_id: 'x"/y', display_name: "X\n*/", input_schema: { type: "object", properties } }]);
  assert.match(text, /"x\\"\/y": \{/);
  assert.match(text, /"a-b"\?: string;/);
  assert.equal(text.match(/\*\//g).length, 2);
});

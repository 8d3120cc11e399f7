// TypeScript types of JSON schemas: of the contract's documents, and of the models of a catalogue.

/** A schema of JSON Schema, as far as the contract and RunComfy's models use it. */
export type Schema = Record<string, any>;

/** The type that a schema describes. Names of components are used as they are. */
export function typeOf(schema: Schema | undefined, indent = ""): string {
  if (!schema || typeof schema !== "object") return "unknown";
  if (typeof schema.$ref === "string") return schema.$ref.split("/").at(-1)!;
  if (Array.isArray(schema.enum)) return union(schema.enum.map((value) => JSON.stringify(value)));
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const options = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(options)) return union(options.map((one) => typeOf(one, indent)));
  if (Array.isArray(schema.allOf) && schema.allOf.length === 1) return typeOf(schema.allOf[0], indent);
  const kinds: unknown[] = Array.isArray(schema.type) ? schema.type : [schema.type];
  return union(kinds.map((kind) => typeOfKind(kind, schema, indent)));
}

function typeOfKind(kind: unknown, schema: Schema, indent: string): string {
  if (kind === "string" || kind === "boolean" || kind === "null") return kind;
  if (kind === "integer" || kind === "number") return "number";
  if (kind === "array") return listOf(schema, indent);
  if (kind === "object" || schema.properties) return objectOf(schema, indent);
  return "unknown";
}

function listOf({ items, prefixItems }: Schema, indent: string): string {
  if (Array.isArray(prefixItems)) return `[${prefixItems.map((one) => typeOf(one, indent)).join(", ")}]`;
  const item = typeOf(items, indent);
  return /[ |]/.test(item) && !item.startsWith("{") ? `(${item})[]` : `${item}[]`;
}

function objectOf(schema: Schema, indent: string): string {
  const members = Object.entries<Schema>(schema.properties ?? {});
  const more = schema.additionalProperties;
  if (members.length === 0) return `Record<string, ${more && more !== true ? typeOf(more, indent) : "unknown"}>`;
  const required: string[] = schema.required ?? [];
  const lines = members.map(([name, member]) => {
    const mark = required.includes(name) ? "" : "?";
    return `${comment(member, `${indent}  `)}${indent}  ${key(name)}${mark}: ${typeOf(member, `${indent}  `)};\n`;
  });
  return `{\n${lines.join("")}${indent}}`;
}

/** A declaration of a named type: an interface where it has members. */
export function declaration(name: string, schema: Schema): string {
  const type = typeOf(schema);
  const isInterface = type.startsWith("{\n") && type.endsWith("\n}");
  return `${comment(schema, "")}export ${isInterface ? `interface ${name} ${type}` : `type ${name} = ${type};`}\n`;
}

/** The interface `Models`: the input and output of every model, by its id. */
export function modelTypes(models: Schema[], name = "Models"): string {
  const byId = [...models].sort((one, other) => (one.model_id < other.model_id ? -1 : 1));
  const members = byId.map((model) => {
    const output = model.output_schema?.output ?? model.output_schema ?? { type: "object" };
    const title = comment({ description: model.display_name }, "  ");
    const types = `    input: ${typeOf(model.input_schema, "    ")};\n    output: ${typeOf(output, "    ")};\n`;
    return `${title}  ${JSON.stringify(model.model_id)}: {\n${types}  };\n`;
  });
  return `export interface ${name} {\n${members.join("")}}\n`;
}

const union = (types: string[]): string => [...new Set(types)].join(" | ") || "never";

const key = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));

/** What is said of it, its default and its bounds, as a comment of one line. */
function comment(schema: Schema, indent: string): string {
  const bounds = [
    schema.maxLength !== undefined && `At most ${schema.maxLength} characters.`,
    schema.minimum !== undefined && `At least ${schema.minimum}.`,
    schema.maximum !== undefined && `At most ${schema.maximum}.`,
    schema.maxItems !== undefined && `At most ${schema.maxItems}.`,
  ];
  const value = JSON.stringify(schema.default);
  const isShort = value !== undefined && value.length < 60;
  const words = [schema.description, ...bounds, isShort && `Default: \`${value}\`.`];
  const text = words.filter(Boolean).join(" ").replace(/\s+/g, " ").replaceAll("*/", "* /").trim();
  return text ? `${indent}/** ${text} */\n` : "";
}

// Reading a model's schema: where things stand in it, and what they amount to.

/** `#/image_urls/0` as its tokens. */
export function tokensOf(pointer) {
  const decode = (token) => decodeURIComponent(token).replaceAll("~1", "/").replaceAll("~0", "~");
  return pointer.replace(/^#/, "").split("/").slice(1).map(decode);
}

/** Where files stand, by their template (`/image_urls/*`), as the server compiled it. */
export function mediaOf(model) {
  const rulesAt = (pointer) => {
    const words = (model.media_rules ?? [])
      .filter((one) => one.pointer === pointer)
      .map((one) => one.message);
    return [...new Set(words.filter(Boolean))];
  };
  return new Map(
    (model.media_inputs ?? []).map((one) => [one.pointer, { ...one, rules: rulesAt(one.pointer) }]),
  );
}

/** A schema without detours: references followed, "or null" taken off. */
export function resolved(schema, root, depth = 0) {
  if (depth > 16 || schema === null || typeof schema !== "object") return {};
  if (typeof schema.$ref === "string") {
    const { $ref, ...rest } = schema;
    const target = tokensOf($ref).reduce((node, token) => node?.[token], root);
    return resolved({ ...target, ...rest }, root, depth + 1);
  }
  for (const word of ["anyOf", "oneOf", "allOf"]) {
    const branches = schema[word]?.filter((one) => one.type !== "null");
    if (branches?.length === 1) {
      const { [word]: _dropped, ...rest } = schema;
      return resolved({ ...branches[0], ...rest }, root, depth + 1);
    }
  }
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((one) => one !== "null");
    return { ...schema, type: types.length === 1 ? types[0] : undefined };
  }
  return schema.type === "float" ? { ...schema, type: "number" } : schema;
}

export const escaped = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");

export const isScalar = (value) => value === null || ["string", "number", "boolean"].includes(typeof value);
export const hasBranches = (schema) => ["anyOf", "oneOf", "if"].some((word) => word in schema);

export function countNote(least, most) {
  if (most !== Infinity) return least > 0 ? `${least} to ${most} of these.` : `Up to ${most} of these.`;
  return least > 1 ? `At least ${least} of these.` : "";
}

export const singular = (words) =>
  words
    .replace(/ urls?$/i, "")
    .replace(/ies$/, "y")
    .replace(/([^s])s$/, "$1");

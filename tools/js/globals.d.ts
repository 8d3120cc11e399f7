/** Swagger UI, which /docs loads as a script of its own. */
declare function SwaggerUIBundle(options: Record<string, unknown>): unknown;

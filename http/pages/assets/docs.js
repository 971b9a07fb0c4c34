// Starts Swagger UI. Its validator lives on another host and stays off.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  requestSnippetsEnabled: false,
  persistAuthorization: false,
  tryItOutEnabled: false,
});

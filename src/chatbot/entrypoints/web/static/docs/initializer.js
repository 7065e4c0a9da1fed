// Addresses are relative, so that they hold below any ROOT_PATH. Nothing is asked of another host.
SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "openapi.json",
  validatorUrl: null,
  deepLinking: true,
});

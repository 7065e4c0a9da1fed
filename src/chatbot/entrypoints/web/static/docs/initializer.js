// URLs are relative, so that they work below any ROOT_PATH. No request goes to another host.
SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "openapi.json",
  validatorUrl: null,
  deepLinking: true,
});

// Starts ReDoc with the system's fonts: its own would come from another host.
const fonts = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
Redoc.init(
  "openapi.json",
  {
    scrollYOffset: "nav",
    hideDownloadButtons: false,
    expandResponses: "200",
    nativeScrollbars: true,
    theme: {
      typography: {
        fontFamily: fonts,
        headings: { fontFamily: fonts },
        code: { fontFamily: "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" },
      },
    },
  },
  document.getElementById("redoc"),
);

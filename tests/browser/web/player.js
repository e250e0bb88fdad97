// Plays a movie of the tests; `run` hands commands to it.
const settings = JSON.parse(new URLSearchParams(location.search).get("settings"));
const isDriver = settings.movie.endsWith("driver.swf");
let movie;

if (!isDriver) {
  const tell = report;
  window.report = (name, event, text) => tell(name, event, text.slice(1));
}

window.RufflePlayer.config = {
  allowScriptAccess: true,
  autoplay: "on",
  letterbox: "off",
  polyfills: false,
  preferredRenderer: "canvas",
  socketProxy: settings.socketProxy,
  splashScreen: false,
  unmuteOverlay: "hidden",
};

addEventListener("load", async () => {
  const player = window.RufflePlayer.newest().createPlayer();
  document.body.append(player);
  movie = player.ruffle();
  await movie.load({ url: settings.movie });
});

function run(commands) {
  if (isDriver) return movie.callExternalInterface("run", commands);
  for (const [kind, name, ...rest] of commands) {
    if (!run.prepared.has(name)) movie.callExternalInterface("prepare", name);
    run.prepared.add(name);
    // See avm1.py for the colon.
    movie.callExternalInterface(kind, name, ...(kind === "send" ? [`:${rest[0]}`] : rest));
  }
}
run.prepared = new Set();

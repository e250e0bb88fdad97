// What is hard to read, or has no name: text that is seen with a contrast below 4.5:1 (WCAG 2, level AA), and controls.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const mix = (colors) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) {
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
    }
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((part) => (part <= 10 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faults = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility() || element.closest("noscript, .unseen")) continue;
    const grounds = [];
    for (let each = element; each; each = each.parentElement) grounds.unshift(getComputedStyle(each).backgroundColor);
    const ground = luminance(mix(["white", ...grounds]));
    const ink = luminance(mix(["white", ...grounds, getComputedStyle(element).color]));
    const contrast = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    if (contrast < 4.5) faults.push(`${contrast.toFixed(2)}: ${element.outerHTML}`);
  }
  for (const control of document.querySelectorAll("button, input, textarea, [role=log]")) {
    if (!control.checkVisibility()) continue;
    const name = control.ariaLabel ?? (control.labels?.[0] ?? control).textContent.trim();
    if (!name) faults.push(`no name: ${control.outerHTML}`);
  }
  return faults;
}

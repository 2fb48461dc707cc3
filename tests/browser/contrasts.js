// Texts of the page whose contrast with what lies behind them is below WCAG 2.2 AA: 4.5, or 3 from 24 px on
// and for the signs of emotions, which are marks beside their name.
() => {
  const channel = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = text => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    const scale = text.startsWith('color(srgb') ? 1 : 255;
    return [numbers.slice(0, 3).map(number => number / scale), numbers[3] ?? 1];
  };
  const over = ([top, alpha], below) => top.map((value, i) => alpha * value + (1 - alpha) * below[i]);
  const backgroundOf = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [1, 1, 1]);
  };
  const opacityOf = element => {
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
    return opacity;
  };
  const weak = [];
  const main = document.querySelector('[data-testid=stMain]');
  const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const isIcon = element.closest('[data-testid=stIconMaterial], canvas, [disabled], style, script');
    if (!walker.currentNode.textContent.trim() || isIcon || box.width <= 1 || style.visibility === 'hidden') continue;
    const background = backgroundOf(element);
    const fill = element.closest('svg') ? style.fill : style.color;
    const [colour, alpha] = parse(fill);
    const shown = over([colour, alpha * opacityOf(element)], background);
    const [light, dark] = [luminance(shown), luminance(background)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24 || element.closest('.telepathy-sign');
    if (ratio < (isLarge ? 3 : 4.5)) weak.push(`${ratio.toFixed(2)}: ${walker.currentNode.textContent.trim()}`);
  }
  return weak;
}

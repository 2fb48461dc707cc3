/* Segments of a recording: lists of {start, end, label}, in order, none over another. Every function gives a new list. */

const SHORTEST_S = 0.1;

/* `drawn` laid over the others, which give way to it. */
function paint(segments, drawn) {
  const left = [];
  for (const one of segments) {
    if (one.start < drawn.start) left.push({ ...one, end: Math.min(one.end, drawn.start) });
    if (one.end > drawn.end) left.push({ ...one, start: Math.max(one.start, drawn.end) });
  }
  return inOrder([...left.filter(isLongEnough), drawn]);
}

function split(segments, index, at) {
  const one = segments[index];
  const halves = one ? [{ ...one, end: at }, { ...one, start: at }] : [];
  if (!one || !halves.every(isLongEnough)) return segments;
  return [...segments.slice(0, index), ...halves, ...segments.slice(index + 1)];
}

/* One segment with the one after it, from the beginning of the first to the end of the second. */
function merge(segments, index) {
  const [one, following] = [segments[index], segments[index + 1]];
  if (!one || !following) return segments;
  const merged = { ...one, end: following.end, label: one.label ?? following.label };
  return [...segments.slice(0, index), merged, ...segments.slice(index + 2)];
}

function relabel(segments, index, label) {
  return segments.map((one, at) => (at === index ? { ...one, label } : one));
}

function without(segments, index) {
  return segments.filter((_, at) => at !== index);
}

function isLongEnough({ start, end }) { return end - start >= SHORTEST_S; }

function inOrder(segments) { return [...segments].sort((one, other) => one.start - other.start); }

// Break titles and names of figures into lines that fit: plotly does not wrap text.

const pen = document.createElement("canvas").getContext("2d");

function textWidth(text, size) {
  pen.font = `${size}px ${FAMILY}`;
  return pen.measureText(words(text)).width;
}

/** Break a text into lines of at most `room` pixels; cut longer words. */
function wrapped(text, room, size = 13) {
  if (!text || text.includes("<br") || textWidth(text, size) <= room) return text;
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines[lines.length - 1] ? `${lines[lines.length - 1]} ${word}` : word;
    if (textWidth(longer, size) <= room || !lines[lines.length - 1]) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.map((line) => shortened(line, room, size)).join("<br>");
}

function shortened(line, room, size) {
  if (textWidth(line, size) <= room) return line;
  const letters = [...words(line)];
  while (letters.length > 1 && textWidth(`${letters.join("")}…`, size) > room) letters.pop();
  return `${letters.join("")}…`.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

const lineCount = (text) => (text ? text.split("<br>").length : 0);

#!/bin/sh
# Draws a diagram of `plan --format mermaid` as a picture for a page: draw.sh <DIAGRAM >PICTURE.svg
#
# Needs `mmdc` and `svgo` (of npm's @mermaid-js/mermaid-cli and svgo), and chromium. The diagram goes
# into the picture as its description, by which tests/docs sees whether the picture is current.
set -eu

chromium=$(command -v chromium)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/diagram.mmd"
# Labels of HTML are not drawn where a picture is no page.
echo '{"theme": "neutral", "fontFamily": "sans-serif", "htmlLabels": false,
    "flowchart": {"htmlLabels": false, "wrappingWidth": 600}}' >"$work/mermaid.json"
# Root's chromium has no sandbox.
echo "{\"executablePath\": \"$chromium\", \"args\": [\"--no-sandbox\"]}" >"$work/browser.json"
mmdc --quiet --input "$work/diagram.mmd" --output "$work/drawn.svg" --svgId plan \
    --configFile "$work/mermaid.json" --puppeteerConfigFile "$work/browser.json" >&2
# The styles name shapes and ids.
cat >"$work/svgo.config.mjs" <<'END'
export default { floatPrecision: 1, plugins: [{ name: "preset-default", params: { overrides: {
    inlineStyles: false, minifyStyles: false, cleanupIds: false, convertShapeToPath: false } } }] };
END
svgo --quiet --config "$work/svgo.config.mjs" "$work/drawn.svg" -o "$work/small.svg" >&2
description=$(sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g' "$work/diagram.mmd")
head=$(sed '1s/>.*//; s/ width="100%"//; s/max-width:[^;"]*;//; q' "$work/small.svg")
box=${head##*viewBox=\"0 0 }
box=${box%%\"*}
width=${box% *}
height=${box#* }
# Three quarters of its own size is enough to be read.
width=$((${width%.*} * 3 / 4))
height=$((${height%.*} * 3 / 4))
printf '%s width="%s" height="%s"><desc>%s\n</desc>' "$head" "$width" "$height" "$description"
sed '1s/[^>]*>//' "$work/small.svg"

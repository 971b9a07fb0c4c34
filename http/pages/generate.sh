#!/bin/sh
# Fetches Swagger UI and ReDoc from npm and packs what the pages need into thirdparty/: scripts and styles gzipped with no
# time stamp, so that the same sources give the same files, and the licences as they are. Needs npm, gzip and sha256sum;
# run it only to change a version.
#
# One change is made: ReDoc shows its maker's logo from another host. That address becomes an empty one, whereupon
# ReDoc leaves the picture out.
set -eu
out=$(cd "$(dirname "$0")" && pwd)/thirdparty
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm pack --silent swagger-ui-dist@5.35.0 redoc@2.5.4 >/dev/null
sha256sum --check --quiet <<'SUMS'
1b8e891893404ea4c3558b6a87e2a3e494e7eedba41168c2ece5800a391a6ea6  swagger-ui-dist-5.35.0.tgz
44922df4d0eb45c1b066c09ec251e6bd9bd7ded16bc69e87613337b9d911a56e  redoc-2.5.4.tgz
SUMS
mkdir swagger-ui redoc
tar -xzf swagger-ui-dist-5.35.0.tgz -C swagger-ui --strip-components=1
tar -xzf redoc-2.5.4.tgz -C redoc --strip-components=1

logo='https://cdn.redoc.ly/redoc/logo-mini.svg'
script=redoc/bundles/redoc.standalone.js
[ "$(grep -o "$logo" $script | wc -l)" = 1 ] || { echo "generate.sh: the logo is not where it was" >&2; exit 1; }
sed -i -e "s|$logo|data:,|" -e '/^\/\/# sourceMappingURL=/d' $script
sed -i -e '/^\/\/# sourceMappingURL=/d' swagger-ui/swagger-ui-bundle.js
sed -i -e 's|/\*# sourceMappingURL=[^*]*\*/||' swagger-ui/swagger-ui.css

rm -rf "$out"
mkdir -p "$out"
gzip -9nc swagger-ui/swagger-ui-bundle.js >"$out/swagger-ui.js.gz"
gzip -9nc swagger-ui/swagger-ui.css >"$out/swagger-ui.css.gz"
gzip -9nc $script >"$out/redoc.js.gz"
cat swagger-ui/NOTICE swagger-ui/LICENSE swagger-ui/swagger-ui-bundle.js.LICENSE.txt >"$out/swagger-ui.LICENSE.txt"
cat redoc/LICENSE redoc/bundles/redoc.standalone.js.LICENSE.txt >"$out/redoc.LICENSE.txt"

#!/usr/bin/env bash
# Takes settings from the environment as the official images do: each variable whose name is lower
# case with dots, such as discovery.type=single-node, is an argument -Ename=value.
set -o nounset -o errexit

arguments=(-Enetwork.host=0.0.0.0)
while IFS= read -r -d '' variable; do
    [[ ! $variable =~ ^[a-z0-9_]+(\.[a-z0-9_]+)+= ]] || arguments+=("-E$variable")
done < <(env --null)
# As in the official images: where there is no password, and security is not switched off, no start.
if [[ $PRODUCT == opensearch && ${DISABLE_SECURITY_PLUGIN:-} != true
        && -z ${OPENSEARCH_INITIAL_ADMIN_PASSWORD:-} ]]; then
    echo "No custom admin password found. Please provide OPENSEARCH_INITIAL_ADMIN_PASSWORD." >&2
    exit 1
fi
exec "bin/$PRODUCT" "${arguments[@]}"

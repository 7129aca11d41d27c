#!/usr/bin/env bash
# Runs the MQTT 3.1.1 and 5.0 interoperability tests of a checkout of https://github.com/eclipse/paho.mqtt.testing
# against the broker, with the settings they expect. Nonzero if any of them fails.
#
#   tests/paho.sh CHECKOUT_DIR [TEST...]        TEST = names such as test_will_delay; default: all of both files
#   BROKER=path/to/broker                       default: built from this tree (debug)
set -euo pipefail
checkout=$(cd "${1:?usage: tests/paho.sh CHECKOUT_DIR [TEST...]}" && pwd)
shift
cd "$(dirname "$0")/.."
[ -f "$checkout/interoperability/client_test5.py" ] || { echo "$checkout has no interoperability/client_test5.py" >&2; exit 2; }
if [ -z "${BROKER:-}" ]; then
    cargo build --quiet -p broker
    BROKER=${CARGO_TARGET_DIR:-target}/debug/broker
fi
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# What the tests want and no default gives: a maximum keep-alive of 60 s, one topic that nobody may subscribe to, and
# 0x80 as the only answer to whoever tries.
cat > "$dir/broker.toml" <<TOML
[node]
data_dir = ""
[listeners.tcp]
transport = "tcp"
bind = "127.0.0.1:$port"
[mqtt]
max_keepalive = 60
[auth]
allow_anonymous = true
chain = []
[acl]
file = "$dir/acl.conf"
tell_reason = false
[audit]
enabled = false
[admin]
socket = "$dir/ctl.sock"
socket_group = ""
[metrics]
bind = ""
TOML
cat > "$dir/acl.conf" <<ACL
default all allow
deny subscribe to =test/nosubscribe
ACL
"$BROKER" run --config "$dir/broker.toml" > "$dir/log" 2>&1 &
pid=$!
python3 - "$port" <<'PY' || { cat "$dir/log" >&2; exit 1; }
import socket, sys, time
for _ in range(200):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
        break
    except OSError:
        time.sleep(0.05)
else:
    sys.exit("the broker does not listen")
PY

# The files read the port from a command line that today's unittest refuses, so their globals are set here.
status=0
for file in client_test client_test5; do
    (cd "$checkout/interoperability" && PYTHONDONTWRITEBYTECODE=1 python3 -W ignore - "$file" "$port" "$@" <<'PY'
import importlib, logging, sys, unittest
name, port, wanted = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
logging.getLogger().setLevel(logging.CRITICAL)
module = importlib.import_module(name)
prefix = "client_test5/" if name.endswith("5") else ""
module.topic_prefix = prefix
module.host, module.port = "127.0.0.1", port
topics = [prefix + t for t in ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")]
wild = [prefix + t for t in ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")]
def set_data():
    module.topics, module.wildtopics, module.nosubscribe_topics = topics, wild, ("test/nosubscribe",)
set_data()
module.setData = set_data
all_tests = unittest.defaultTestLoader.loadTestsFromModule(module)
suite = unittest.TestSuite(t for s in all_tests for t in s if not wanted or t._testMethodName in wanted)
count = suite.countTestCases()
if count == 0:
    sys.exit(0)
result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(suite)
bad = len(result.failures) + len(result.errors)
print(f"{name}: {count - bad} of {count} passed", flush=True)
sys.exit(0 if bad == 0 else 1)
PY
    ) || status=1
done
exit $status

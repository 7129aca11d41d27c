"""One round with paho-mqtt: TRANSPORT VERSION PORT CA_FILE. Prints "ok" if every message came as it was sent.

QoS 0 to 2 both ways, a retained message, a Will, and a session that outlives its connection.
"""
import queue
import sys
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

KIND, VERSION, PORT, CA = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
PROTOCOL = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}[VERSION]
PREFIX = f"{KIND}/{VERSION}"
DEADLINE = 30


class Client:
    """A client whose events arrive in queues."""

    def __init__(self, name, session=False, will=None):
        args = {"client_id": f"{KIND}-{VERSION}-{name}", "protocol": PROTOCOL}
        args["transport"] = "websockets" if KIND.startswith("ws") else "tcp"
        if PROTOCOL != mqtt.MQTTv5:
            args["clean_session"] = not session
        if hasattr(mqtt, "CallbackAPIVersion"):  # paho-mqtt 2
            args["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
        self.mqtt = mqtt.Client(**args)
        self.connected, self.subscribed, self.messages = queue.Queue(), queue.Queue(), queue.Queue()
        self.mqtt.on_connect = lambda _c, _u, flags, code, *_: self.connected.put((flags, code))
        self.mqtt.on_subscribe = lambda *_: self.subscribed.put(True)
        self.mqtt.on_message = lambda _c, _u, m: self.messages.put((m.topic, m.payload.decode(), m.qos, m.retain))
        if KIND.startswith("ws"):
            self.mqtt.ws_set_options(path="/mqtt")
        if KIND in ("tls", "wss"):
            self.mqtt.tls_set(CA)
        if will:
            self.mqtt.will_set(f"{PREFIX}/{will}", "gone", qos=1)
        options = {}
        if PROTOCOL == mqtt.MQTTv5:
            options["clean_start"] = not session
            options["properties"] = Properties(PacketTypes.CONNECT)
            options["properties"].SessionExpiryInterval = 60 if session else 0
        self.mqtt.connect("127.0.0.1", PORT, keepalive=30, **options)
        self.mqtt.loop_start()
        flags, code = self.connected.get(timeout=DEADLINE)
        assert code == 0, f"{name} was refused: {code}"
        self.session_present = bool(flags["session present"])

    def subscribe(self, topic, qos):
        self.mqtt.subscribe(f"{PREFIX}/{topic}", qos)
        self.subscribed.get(timeout=DEADLINE)

    def publish(self, topic, payload, qos, retain=False):
        self.mqtt.publish(f"{PREFIX}/{topic}", payload, qos, retain).wait_for_publish(DEADLINE)

    def expect(self, topic, payload, qos, retain=False):
        got = self.messages.get(timeout=DEADLINE)
        assert got == (f"{PREFIX}/{topic}", payload, qos, retain), f"got {got} instead of {topic} {payload}"

    def leave(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


publisher = Client("pub", will="polite")
subscriber = Client("sub")
subscriber.subscribe("t/#", 2)
for qos in (0, 1, 2):
    publisher.publish("t/q", f"hello {qos}", qos)
    subscriber.expect("t/q", f"hello {qos}", qos)
large = "x" * 200_000
publisher.publish("t/large", large, 1)
subscriber.expect("t/large", large, 1)

publisher.publish("kept", "old", 1, retain=True)
subscriber.subscribe("kept", 1)
subscriber.expect("kept", "old", 1, retain=True)

subscriber.subscribe("will", 1)
dying = Client("dying", will="will")
dying.mqtt.loop_stop()
dying.mqtt.socket().close()
subscriber.expect("will", "gone", 1)

session = Client("session", session=True)
session.subscribe("later", 2)
session.leave()
publisher.publish("later", "one", 1)
publisher.publish("later", "two", 2)
session = Client("session", session=True)
# CONNACK of 3.1 does not tell.
assert session.session_present or VERSION == "3.1", "the session was forgotten"
session.expect("later", "one", 1)
session.expect("later", "two", 2)

for client in (publisher, subscriber, session):
    client.leave()
print("ok")

"""Logging in at an ssh hop: keys from files, the agent's, passwords; with OpenSSH's own programs and a scripted hop."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel, capturedLogs

from pipsocks.model import Destination, Secret
from pipsocks.upstream.dial import Dial
from pipsocks.upstream.sshdata import Fields, number, string
from pipsocks.upstream.sshkeys import algorithmOf
from tests.functional.processes import Child, find, requires
from tests.loopback import Talk
from tests.upstream.sshrig import SSHCase, generate, login


class Agent(Child):
    """A running ssh-agent, which holds `keys`."""

    def __init__(self, directory: Path, *keys: Path) -> None:
        requires("ssh-agent", "ssh-add")
        self.path = str(directory / "agent")
        super().__init__([find("ssh-agent") or "", "-D", "-a", self.path])
        self.expect("SSH_AUTH_SOCK")
        for key in keys:
            subprocess.run(
                [find("ssh-add") or "", "-q", str(key)], env={**os.environ, "SSH_AUTH_SOCK": self.path}, check=True,
                stdin=subprocess.DEVNULL, capture_output=True,
            )  # fmt: skip


class LoginCase(SSHCase):
    """Logging in, in real time."""

    def setUp(self) -> None:
        super().setUp()
        self.network = self.real()

    async def assertLetIn(self, port: int, user: str = "", password: str = "", **settings: Any) -> None:
        """The hop lets us in, and tunnels."""
        peers, there = await self.peer()
        who = login(user, password) if user or password else None
        hop = self.hop(port, who, **settings)
        inner = await self.open(hop.over(Dial(self.network, hop.address, isHop=True), there, self.network))
        inner.write(b"hello")
        self.assertEqual(b"hello", await (await peers.accepted()).read(5))
        await self.network.shared.close()

    async def assertKeptOut(self, port: int, user: str = "", password: str = "", **settings: Any) -> Any:
        """The hop does not let us in; the refusal."""
        who = login(user, password) if user or password else None
        hop = self.hop(port, who, **settings)
        opening = self.open(hop.over(Dial(self.network, hop.address, isHop=True), Destination("a", 1), self.network))
        return await self.refused(opening, "PS-UP10", hop=f"127.0.0.1:{port}")

    def agent(self, *keys: Path) -> Agent:
        """A running agent, which the environment names."""
        agent = Agent(self.directory, *keys)
        self.addCleanup(agent.stop)
        os.environ["SSH_AUTH_SOCK"] = agent.path
        return agent


class RealTests(LoginCase):
    """OpenSSH's sshd and ssh-agent."""

    async def test_kinds(self) -> None:
        """Every kind of key that ssh-keygen makes by default; an RSA key does not sign with SHA-1."""
        kinds = {"ed25519": "", "ecdsa": "521", "rsa": "3072"}
        keys = [generate(kind, self.directory / f"id_{kind}_", bits=bits) for kind, bits in kinds.items()]
        server = self.sshd(keys=tuple(keys))
        for key in keys:
            await self.assertLetIn(server.port, key=str(key))

    async def test_encrypted(self) -> None:
        """A key's passphrase stands in an option; without it the agent has to have the key."""
        key = generate("ed25519", self.directory / "locked", "hunter2")
        server = self.sshd(keys=(key,))
        await self.assertLetIn(server.port, key=str(key), passphrase=Secret("hunter2"))
        refusal = await self.assertKeptOut(server.port, key=str(key), agent=True)
        self.assertEqual(": offered nothing; it takes publickey", refusal.detail)
        opened = self.directory / "opened"
        opened.write_bytes(key.read_bytes())
        opened.chmod(0o600)
        subprocess.run(
            [find("ssh-keygen") or "", "-q", "-p", "-P", "hunter2", "-N", "", "-f", str(opened)], check=True,
            capture_output=True,
        )  # fmt: skip
        self.agent(opened)
        await self.assertLetIn(server.port, key=str(key), agent=True)

    async def test_agent(self) -> None:
        """The agent's keys are offered, one after the other; with agent=off none is."""
        ours, rsa = (generate(kind, self.directory / f"a_{kind}") for kind in ("ecdsa", "rsa"))
        server = self.sshd(keys=(rsa,))
        self.agent(ours, rsa)
        await self.assertLetIn(server.port, agent=True)
        await self.assertKeptOut(server.port, agent=False)

    async def test_agentIsNotThere(self) -> None:
        """A socket that nobody listens at is no agent."""
        server = self.sshd()
        os.environ["SSH_AUTH_SOCK"] = str(self.directory / "nobody")
        refusal = await self.assertKeptOut(server.port, agent=True)
        self.assertIn("offered nothing", refusal.cause)

    async def test_agentIsSilent(self) -> None:
        """An agent that takes the connection and answers nothing is given a second; then the files have their turn."""
        server = self.sshd()
        silent = Factory.forProtocol(Talk)
        silent.noisy = False
        port: Any = reactor.listenUNIX(str(self.directory / "silent"), silent)  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        os.environ["SSH_AUTH_SOCK"] = str(self.directory / "silent")
        (self.directory / ".ssh").mkdir()
        (self.directory / ".ssh/id_rsa").write_bytes(self.key.read_bytes())
        await self.assertLetIn(server.port, agent=True)

    async def test_defaults(self) -> None:
        """OpenSSH's default files, in its default place; those that are encrypted or nonsense are passed over."""
        server = self.sshd()
        (self.directory / ".ssh").mkdir()
        generate("ed25519", self.directory / ".ssh/id_ed25519", "locked")
        (self.directory / ".ssh/id_ecdsa").write_text("nonsense")
        (self.directory / ".ssh/id_rsa").write_bytes(self.key.read_bytes())
        (self.directory / ".ssh/known_hosts").write_text(self.known.read_text())
        await self.assertLetIn(server.port, known_hosts="")

    async def test_wrongKey(self) -> None:
        """A key that is not authorized."""
        server = self.sshd()
        other = generate("ed25519", self.directory / "other")
        refusal = await self.assertKeptOut(server.port, key=str(other))
        self.assertEqual(": offered 1 key; it takes publickey", refusal.detail)

    async def test_tooMany(self) -> None:
        """A hop that has had enough tells so in its own words."""
        server = self.sshd("MaxAuthTries 2")
        keys = [generate("ed25519", self.directory / f"agent{number}") for number in range(4)]
        self.agent(*keys)
        refusal = await self.assertKeptOut(server.port, agent=True)
        self.assertIn("Too many authentication failures", refusal.said)

    async def test_hostKeyKinds(self) -> None:
        """A host with several keys is asked for one that is known."""
        rsa = generate("rsa", self.directory / "hostrsa", bits="3072")
        server = self.sshd(f"HostKey {rsa}")
        self.known.write_text(f"[127.0.0.1]:{server.port} {Path(f'{rsa}.pub').read_text()}")
        await self.assertLetIn(server.port, key=str(self.key))

    async def test_hostKeyUnknown(self) -> None:
        """A host that no file knows is not logged in to."""
        server = self.sshd()
        self.known.write_text("")
        hop = self.hop(server.port, key=str(self.key))
        way = hop.over(Dial(self.network, hop.address, isHop=True), Destination("a", 1), self.network)
        with capturedLogs() as logged:
            refusal = await self.refused(self.open(way), "PS-UP26", detail=str(self.known))
            await self.turns(lambda: not self.network.shared._places)
        self.assertEqual([], [event for event in logged if event["log_level"] >= LogLevel.warn])
        self.assertIn("ssh-ed25519 SHA256:", refusal.said)
        self.assertNotIn("Accepted", server.output)
        self.known.write_text(server.known)
        await self.assertLetIn(server.port, key=str(self.key))

    async def test_hostKeyChanged(self) -> None:
        """Nor is one that shows another key."""
        server = self.sshd()
        server.restart("host2")
        hop = self.hop(server.port, key=str(self.key))
        way = hop.over(Dial(self.network, hop.address, isHop=True), Destination("a", 1), self.network)
        await self.refused(self.open(way), "PS-UP27", detail=f"another stands in {self.known}:1")
        self.assertNotIn("Accepted", server.output)


class ScriptedTests(LoginCase):
    """A hop that does as it likes."""

    async def test_none(self) -> None:
        """A hop that wants nothing gets nothing; the user is this process's where none is named."""
        bastion = await self.bastion()
        hop = self.hop(bastion.port)
        self.open(hop.over(Dial(self.network, hop.address, isHop=True), Destination("a", 1), self.network))
        await self.turns(lambda: bastion.connections and bastion.connections[-1].of(90))
        self.assertEqual([(hop.user.encode(), b"none")], bastion.logins)

    async def test_password(self) -> None:
        """A password is tried once, behind the keys; a colon in it is its own."""
        seen: list[bytes] = []

        def admit(user: bytes, method: bytes, fields: Fields) -> bool:
            if method == b"password":
                fields.flag()
                seen.append(fields.string())
            return seen == [b"p:w"]

        bastion = await self.bastion(admit=admit)
        key = generate("ed25519", self.directory / "key")
        hop = self.hop(bastion.port, login("me", "p:w"), key=str(key))
        self.open(hop.over(Dial(self.network, hop.address, isHop=True), Destination("a", 1), self.network))
        await self.turns(lambda: bastion.connections and bastion.connections[-1].of(90))
        self.assertEqual([(b"me", b"none"), (b"me", b"publickey"), (b"me", b"password")], bastion.logins)
        seen.append(b"no more")
        refusal = await self.assertKeptOut(bastion.port, "me", "p:w", key=str(key), agent=True)
        self.assertEqual(": offered 1 key and a password; it takes publickey,password", refusal.detail)
        self.assertNotIn("p:w", repr(refusal) + refusal.text + refusal.reason)

    async def test_passwordExpired(self) -> None:
        """A hop that wants another password does not let us in."""
        expired = b"\x3c" + string(b"new one:") + string(b"")
        bastion = await self.bastion(admit=lambda user, method, fields: expired if method == b"password" else False)
        await self.assertKeptOut(bastion.port, "me", "old")

    async def test_both(self) -> None:
        """A hop that wants a key and then a password gets both, and no second key."""
        key = generate("ed25519", self.directory / "key")

        def admit(user: bytes, method: bytes, fields: Fields) -> bool | bytes:
            if method == b"publickey":
                signed, algorithm, blob = fields.flag(), fields.string(), fields.string()
                if not signed:
                    return b"\x3c" + string(algorithm) + string(blob)
                return b"\x33" + string(b"password") + b"\1"
            return method == b"password"

        bastion = await self.bastion(admit=admit)
        agent = self.agent(key, generate("ed25519", self.directory / "second"))
        hop = self.hop(bastion.port, login("me", "pw"), agent=True)
        self.open(hop.over(Dial(self.network, hop.address, isHop=True), Destination("a", 1), self.network))
        await self.turns(lambda: bastion.connections and bastion.connections[-1].of(90))
        self.assertEqual([b"none", b"publickey", b"publickey", b"password"], [method for _, method in bastion.logins])
        agent.stop()

    async def test_banner(self) -> None:
        """Words before the login are passed over, as is what was not asked for."""

        def admit(user: bytes, method: bytes, fields: Fields) -> bool:
            for message, payload in ((53, string(b"beware") + string(b"")), (61, b""), (60, b"")):
                if message != 60:
                    bastion.transports[0].sendPacket(message, payload)
            return True

        bastion = await self.bastion(admit=admit)
        hop = self.hop(bastion.port)
        self.open(hop.over(Dial(self.network, hop.address, isHop=True), Destination("a", 1), self.network))
        await self.turns(lambda: bastion.connections and bastion.connections[-1].of(90))

    async def test_nonsense(self) -> None:
        """A failure that names no methods is no ssh."""
        bastion = await self.bastion(admit=lambda *_: b"\x33\0")
        hop = self.hop(bastion.port)
        way = hop.over(Dial(self.network, hop.address, isHop=True), Destination("a", 1), self.network)
        await self.refused(self.open(way), "PS-UP07", detail="SSH")

    def test_algorithm(self) -> None:
        """RSA keys, and certificates of them, sign with the best hash that the server takes; others with their own."""
        for kind, offered, algorithm in (
            (b"ssh-rsa", b"", b"rsa-sha2-512"),
            (b"ssh-rsa", b"ssh-ed25519,rsa-sha2-256", b"rsa-sha2-256"),
            (b"ssh-rsa", b"rsa-sha2-256,rsa-sha2-512", b"rsa-sha2-512"),
            (b"ssh-rsa-cert-v01@openssh.com", b"rsa-sha2-256", b"rsa-sha2-256-cert-v01@openssh.com"),
            (b"ssh-ed25519", b"rsa-sha2-512", b"ssh-ed25519"),
            (b"sk-ssh-ed25519@openssh.com", b"", b"sk-ssh-ed25519@openssh.com"),
        ):
            self.assertEqual(algorithm, algorithmOf(string(kind) + b"...", offered))


class ScriptedAgent(Talk):
    """An agent that says what it is told to, whatever it is asked; None: it hangs up."""

    answers: list[bytes | None]
    talks: list[ScriptedAgent]

    def connectionMade(self) -> None:
        self.talks.append(self)

    def dataReceived(self, data: bytes) -> None:
        answer = self.answers.pop(0)
        if answer is None:
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        for octet in answer:
            self.write(bytes((octet,)))


class AgentTests(LoginCase):
    """An agent that does as it likes: it never keeps a login from going on."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.sshd()
        path = str(self.directory / "scripted")
        factory = Factory.forProtocol(ScriptedAgent)
        factory.noisy = False
        port = reactor.listenUNIX(path, factory)  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        os.environ["SSH_AUTH_SOCK"] = path
        ScriptedAgent.talks = []
        self.blob = base64.b64decode((self.directory / "key.pub").read_text().split()[1])

    async def assertOffers(self, what: str, *answers: bytes | None) -> None:
        """With these answers of the agent the hop is offered so much, which does not do."""
        ScriptedAgent.answers = list(answers)
        refusal = await self.assertKeptOut(self.server.port, agent=True)
        self.assertIn(f"offered {what};", refusal.detail)
        self.assertEqual([], ScriptedAgent.answers)

    async def test_nonsense(self) -> None:
        """One that fails, hangs up or talks nonsense has no keys."""
        for answer in (
            b"\0\0\0\1\5", None, b"\0\0\0\5\x0c\0\0\0\1", b"\xff\xff\xff\xff", b"\0\0\0\1\x0c", b"\0\0\0\5\x0e\0\0\0\0",
            b"\0\0\0\0",
        ):  # fmt: skip
            await self.assertOffers("nothing", answer)

    async def test_doesNotSign(self) -> None:
        """One that does not sign for a key leaves it at that."""
        keys = string(b"\x0c" + number(1) + string(self.blob) + string(b"comment"))
        for signature in (b"\0\0\0\1\5", b"\0\0\0\1\x0e", None):
            await self.assertOffers("1 key", keys, signature)

    async def test_goneBetween(self) -> None:
        """One that is gone when it is asked for the second signature."""
        keys = string(b"\x0c" + number(2) + (string(self.blob) + string(b"")) * 2)
        await self.assertOffers("2 keys", keys, None)

    async def test_hangs(self) -> None:
        """One that does not answer is left when the client leaves, whatever it was asked for."""
        keys = string(b"\x0c" + number(1) + string(self.blob) + string(b"comment"))
        for answers in ([b""], [keys, b""]):
            ScriptedAgent.answers, ScriptedAgent.talks = list(answers), []
            hop = self.hop(self.server.port, agent=True)
            dial = Dial(self.network, hop.address, isHop=True)
            opening = self.open(hop.over(dial, Destination("a", 1), self.network))
            await self.turns(lambda: not ScriptedAgent.answers)
            opening.cancel()
            self.failureResultOf(opening)
            (talk,) = ScriptedAgent.talks
            await talk.until(lambda talk=talk: talk.ended)
            talk.transport.loseConnection()  # type: ignore[union-attr]

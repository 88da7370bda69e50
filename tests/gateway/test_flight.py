"""First-flight replay (behaviour, section 5): what goes again, when, over which chain, and what is left behind."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pipsocks.gateway.flight import SILENCE
from pipsocks.gateway.losses import ITSELF
from pipsocks.gateway.memory import FAILING_SECONDS, Memory
from pipsocks.gateway.stream import HELD_LIMIT
from pipsocks.model import Destination
from pipsocks.wire.flight import FLIGHT_LIMIT
from tests.gateway.flights import SITE, Far, FlightCase, pending
from tests.wire.hellos import EARLY_DATA, extension, message, records, serverName

HELLO = records(message(serverName(b"index.example")))
EARLY_HELLO = records(message(serverName(b"index.example"), extension(EARLY_DATA)))
GET = b"GET /simple/ HTTP/1.1\r\nHost: index.example\r\n\r\n"
REPORTED, REACHED = Memory.reported, Memory.reached
POST = b"POST / HTTP/1.1\r\nHost: index.example\r\nContent-Length: 1\r\n\r\nx"


class WhatTests(FlightCase):
    """What may go again, and what never does."""

    def test_hello(self) -> None:
        """The exit that said yes dies: the ClientHello goes over another one, and the client notices nothing."""
        near = self.fly()
        near.says(HELLO)
        self.assertEqual(self.far().got, HELLO)
        self.far().dies()
        self.assertEqual(self.asked, "ab")
        self.assertFlies()
        self.assertEqual((self.far().got, near.transport.written), (HELLO, b""))
        self.far().says(b"server hello")
        self.assertHanded(self.far())
        self.assertEqual(near.transport.written, b"server hello")
        self.assertEqual(self.relay.told, [])

    def test_end(self) -> None:
        """An exit that ends cleanly before a byte has died as well; it is let go, whole."""
        near = self.fly(HELLO)
        first = self.far()
        first.ends()
        self.far().says(b"x")
        self.assertEqual((self.far().got, near.transport.written, self.asked), (HELLO, b"x", "ab"))
        self.assertTrue(first.wire.aborted)

    def test_nothing(self) -> None:
        """A client that has said nothing yet gets another exit as well, and what it says goes there alone."""
        near = self.fly()
        first = self.far()
        first.dies()
        near.says(b"EHLO a\r\n")
        self.assertEqual((first.got, self.far().got, self.asked), (b"", b"EHLO a\r\n", "ab"))
        self.assertHanded(self.far())

    def test_requestOnce(self) -> None:
        """A GET goes a second time, and no third."""
        near = self.fly(GET)
        self.far().dies()
        self.assertEqual((self.far().got, self.asked), (GET, "ab"))
        self.assertFlies()
        self.far().dies()
        self.assertEqual(self.asked, "ab")
        self.assertHanded(self.far())
        self.assertEqual(self.relay.told, ["exit lost"])
        self.assertEqual(near.transport.written, b"")

    def test_requestAfterNothing(self) -> None:
        """A GET that comes only after a first exit has died was never sent: it may still go a second time."""
        near = self.fly()
        self.far().dies()
        near.says(GET)
        self.far().dies()
        self.assertEqual((self.far().got, self.asked), (GET, "abc"))
        self.far().dies()
        self.assertHanded(self.far())

    def test_never(self) -> None:
        """What might do something when it arrives twice is the relay's at once, its upstream's death the client's."""
        flights = (POST, EARLY_HELLO, HELLO + b"x", GET + GET, GET[:-2] + b"Upgrade: h2c\r\n\r\n", b"SSH-2.0-x\r\n")
        for flight in (*flights, bytes(FLIGHT_LIMIT + 1), b"\x16" + bytes(FLIGHT_LIMIT)):
            self.setUp()
            self.fly(flight)
            self.assertHanded(self.far())
            self.far().dies()
            self.assertEqual((self.asked, self.far().got, self.relay.told), ("a", flight, ["exit lost"]))
            self.finish()

    def test_behindAHello(self) -> None:
        """A client that goes on behind its ClientHello without an answer is the relay's from there on."""
        near = self.fly(HELLO)
        near.says(b"more")
        self.assertHanded(self.far())
        self.assertEqual(self.far().got, HELLO + b"more")

    def test_halfRequest(self) -> None:
        """Half a GET does not go again: nobody knows what it becomes."""
        self.fly(GET[:10])
        self.assertFlies()
        self.far().dies()
        self.assertHanded(self.far())
        self.assertEqual(self.asked, "a")

    def test_byteCame(self) -> None:
        """Once a byte came back an exit's death is the client's to see."""
        near = self.fly(HELLO)
        self.far().says(b"\x16")
        self.far().dies()
        self.assertHanded(self.far())
        self.assertEqual((self.asked, near.transport.written, self.relay.told), ("a", b"\x16", ["exit lost"]))

    def test_byteCameWithTheEnd(self) -> None:
        """Also where byte and end were there before the client had been told yes."""
        far = Far()
        far.says(b"421 go away\r\n")
        far.ends()
        self.script("a", lambda: far)
        near = self.fly(HELLO)
        self.assertHanded(far)
        self.assertEqual(
            (near.transport.written, far.got, self.relay.told), (b"421 go away\r\n", HELLO, ["exit ended"])
        )

    def test_deadBefore(self) -> None:
        """What a client sent early is not given to an exit that is dead already: so even a POST goes out, once."""
        dead = Far()
        dead.ends()
        self.script("a", lambda: dead)
        self.fly(POST)
        self.assertEqual((dead.got, self.far().got, self.asked), (b"", POST, "ab"))
        self.assertHanded(self.far())

    def test_clientEnded(self) -> None:
        """Nothing goes again after the client's end: the relay passes it on, and what comes back."""
        near = self.fly(GET)
        near.ends()
        self.assertHanded(self.far())
        self.assertEqual(self.relay.told, ["client ended"])
        self.far().dies()
        self.assertEqual(self.asked, "a")

    def test_clientEndedBefore(self) -> None:
        """The same where request and end came before the client was told yes."""
        self.fly(GET, ended=True)
        self.assertHanded(self.far())
        self.assertEqual((self.far().got, self.relay.told), (GET, ["client ended"]))

    def test_clientEndsMeanwhile(self) -> None:
        """A client that ends while another way is searched for: the search is over."""
        for end in ("ends", "leaves"):
            self.setUp()
            cancelled: list[str] = []
            self.script("b", lambda: Deferred(lambda _: cancelled.append("b")))  # noqa: B023
            near = self.fly(HELLO)
            self.far().dies()
            self.assertEqual((self.asked, cancelled), ("ab", []))
            getattr(near, end)()
            self.assertEqual((self.asked, cancelled), ("ab", ["b"]))
            self.assertHanded(self.far())
            self.assertEqual(len(self.relay.told), 2)
            self.finish(clientFirst=True)

    def test_off(self) -> None:
        """With ``replay = false`` the relay has it from the start."""
        self.exits("a", "b", replay=False)
        self.fly(HELLO)
        self.assertHanded(self.far())
        self.far().dies()
        self.assertEqual(self.asked, "a")
        self.finish()

    def test_directAlone(self) -> None:
        """On the direct route there is nothing to watch."""
        self.exits("direct", direct=("direct",))
        self.fly(HELLO)
        self.assertHanded(self.far())
        self.finish()


class HalfTests(FlightCase):
    """A ClientHello that is half there when the upstream dies."""

    def test_completed(self) -> None:
        """It has a second to become whole, and then goes again, whole."""
        near = self.fly(HELLO[:20])
        self.far().dies()
        self.assertEqual(self.asked, "a")
        self.clock.advance(0.9)
        near.says(HELLO[20:30], HELLO[30:])
        self.assertEqual((self.asked, self.far().got, self.far(0).got), ("ab", HELLO, HELLO[:20]))
        self.far().says(b"x")
        self.assertHanded(self.far())
        self.finish()
        self.assertEqual((self.line["up"], self.line["replays"]), (len(HELLO), 1))

    def test_late(self) -> None:
        """After that second the upstream's death is told; a drip does not prolong it."""
        near = self.fly(HELLO[:20])
        self.far().dies()
        self.clock.advance(0.6)
        near.says(HELLO[20:30])
        self.assertFlies()
        self.clock.advance(0.4)
        self.assertHanded(self.far())
        self.assertEqual((self.asked, self.relay.told), ("a", ["exit lost"]))

    def test_becomesAnother(self) -> None:
        """One that becomes something else does not go again."""
        for rest in (EARLY_HELLO[20:], bytes(FLIGHT_LIMIT), HELLO[20:] + b"x"):
            self.setUp()
            near = self.fly(EARLY_HELLO[:20] if rest == EARLY_HELLO[20:] else HELLO[:20])
            self.far().dies()
            near.says(rest)
            self.assertHanded(self.far())
            self.assertEqual(self.asked, "a")

    def test_leaves(self) -> None:
        """The client leaves meanwhile."""
        near = self.fly(HELLO[:20])
        self.far().dies()
        near.leaves()
        self.assertHanded(self.far())
        self.finish(clientFirst=True)

    def test_onlyEnded(self) -> None:
        """An upstream that has only ended its side still reads: what it is not sent again, it gets."""
        near = self.fly(HELLO[:20])
        self.far().ends()
        near.says(b"\xff" * FLIGHT_LIMIT)
        self.assertHanded(self.far())
        self.assertEqual(self.far().got, HELLO[:20] + b"\xff" * FLIGHT_LIMIT)

    def test_whileHeWaits(self) -> None:
        """What comes behind it while another way is searched for goes once, behind it."""
        way = pending()
        self.script("b", way)
        near = self.fly(HELLO[:20])
        self.far().dies()
        near.says(HELLO[20:])
        near.says(b"more")
        second = Far()
        way.callback(second)
        self.assertEqual(second.got, HELLO + b"more")
        self.assertHanded(second)


class SilenceTests(FlightCase):
    """Four seconds without an answer to a ClientHello."""

    def test_goesBeside(self) -> None:
        """Another way is searched for beside, and the silent one dropped once there is one."""
        way = pending()
        self.script("b", way)
        near = self.fly(HELLO)
        silent = self.far()
        self.clock.advance(SILENCE - 0.1)
        self.assertEqual(self.asked, "a")
        self.clock.advance(0.1)
        self.assertEqual(self.asked, "ab")
        self.assertFalse(silent.wire.aborted)
        second = Far()
        way.callback(second)
        self.assertTrue(silent.wire.aborted)
        self.assertEqual(second.got, HELLO)
        silent.says(b"too late")
        silent.dies()
        self.assertFlies()
        second.says(b"answer")
        self.assertHanded(second)
        self.assertEqual(near.transport.written, b"answer")
        self.assertEqual(self.outcomes, [("a", "ok"), ("b", "ok"), ("a", "unanswered")])
        self.finish()

    def test_speaksFirst(self) -> None:
        """The silent one speaks after all: it wins, and the search is over."""
        cancelled: list[str] = []
        self.script("b", lambda: Deferred(lambda _: cancelled.append("b")))
        near = self.fly(HELLO)
        self.clock.advance(SILENCE)
        self.far().says(b"slow answer")
        self.assertEqual((self.asked, cancelled, near.transport.written), ("ab", ["b"], b"slow answer"))
        self.assertHanded(self.far())
        self.finish()
        self.assertNotIn("replays", self.line)

    def test_diesMeanwhile(self) -> None:
        """The silent one dies while another is being asked: no second search, and the flight goes there."""
        way = pending()
        self.script("b", way)
        self.fly(HELLO)
        self.clock.advance(SILENCE)
        self.far().dies()
        self.assertEqual(self.asked, "ab")
        second = Far()
        way.callback(second)
        self.assertEqual(second.got, HELLO)
        self.assertEqual(self.outcomes, [("a", "ok"), ("a", "died"), ("b", "ok")])

    def test_diesMeanwhileForNothing(self) -> None:
        """And nothing is found: the client sees the death."""
        way = pending()
        self.exits("a", "b", attempts=1)
        self.script("b", way)
        self.fly(HELLO)
        self.clock.advance(SILENCE)
        self.far().dies()
        self.assertFlies()
        self.clock.advance(3)
        self.assertHanded(self.far())

    def test_onlyHellos(self) -> None:
        """A slow page is silent too, and so is a server that waits: nothing else goes again for silence."""
        for flight in ((GET,), (GET[:9],), (HELLO[:9],), ()):
            self.setUp()
            self.fly(*flight)
            self.clock.advance(9.9)
            self.assertFlies()
            self.assertEqual(self.asked, "a")
            self.clock.advance(0.2)
            self.assertHanded(self.far())
            self.assertEqual(self.asked, "a")

    def test_sinceTheLastByte(self) -> None:
        """It counts from the byte that made the ClientHello whole."""
        near = self.fly(HELLO[:9])
        self.clock.advance(3)
        near.says(HELLO[9:])
        self.clock.advance(3.9)
        self.assertEqual(self.asked, "a")
        self.clock.advance(0.1)
        self.assertEqual(self.asked, "ab")

    def test_nobodyElse(self) -> None:
        """Where no other way is found the silent one is waited for; at 10 s the relay takes it, silent as it is."""
        self.script("b", "PS-UP02")
        self.script("c", "PS-UP02")
        near = self.fly(HELLO)
        self.clock.advance(SILENCE)
        self.clock.pump([0.1] * 55)
        self.assertFlies()
        self.assertNotIn("a", self.asked[1:])
        self.clock.advance(0.6)
        self.assertHanded(self.far(0))
        self.far(0).says(b"at last")
        self.assertEqual(near.transport.written, b"at last")

    def test_spentReplays(self) -> None:
        """Silence of the last allowed replay: the relay takes it at 10 s as well."""
        self.fly(HELLO)
        for _ in range(4):
            self.far().dies()
        self.assertEqual(len(self.fars), 5)
        self.clock.advance(9.9)
        self.assertFlies()
        self.clock.advance(0.1)
        self.assertHanded(self.far())
        self.assertEqual(len(self.fars), 5)

    def test_again(self) -> None:
        """The next one is silent too: another 4 s, then the next."""
        self.fly(HELLO)
        self.clock.advance(SILENCE)
        self.assertEqual(self.asked, "ab")
        self.clock.advance(SILENCE)
        self.assertEqual(self.asked, "abc")
        self.clock.advance(2)
        self.assertHanded(self.far())
        self.assertEqual(self.asked, "abc")
        self.assertEqual([far.wire.aborted for _, far in self.fars], [True, True, False])


class BoundsTests(FlightCase):
    """How often, how long, and within which budget."""

    def test_four(self) -> None:
        """Four replays, no fifth."""
        self.exits(*"abcdef")
        self.fly(HELLO)
        for _ in range(5):
            self.far().dies()
        self.assertEqual(self.asked, "abcde")
        self.assertHanded(self.far())
        self.finish()
        self.assertEqual(self.line["replays"], 4)

    def test_tenSeconds(self) -> None:
        """None begins later than 10 s after the client's request, at which the search for the way began."""
        way = pending()
        self.exits("a", "b")
        self.script("a", way)
        for passed, expected in ((9.9, "b"), (10.1, "a")):
            self.setUp()
            self.fly(GET)
            self.clock.advance(passed)
            self.far().dies()
            self.assertEqual(self.asked[-1], expected)

    def test_searchGoesOn(self) -> None:
        """One that has begun before may end later; then the relay has it at once."""
        way = pending()
        self.script("b", way)
        self.fly(GET)
        self.clock.advance(9.9)
        self.far().dies()
        self.clock.advance(1)
        self.assertFlies()
        second = Far()
        way.callback(second)
        self.assertEqual(second.got, GET)
        self.clock.advance(0)
        self.assertHanded(second)

    def test_threeSeconds(self) -> None:
        """A search that takes longer ends with nothing."""
        self.exits("a", "b")
        cancelled: list[str] = []
        self.script("b", lambda: Deferred(lambda _: cancelled.append("b")))
        self.fly(HELLO)
        self.far().dies()
        self.clock.advance(2.9)
        self.assertFlies()
        self.clock.advance(0.1)
        self.assertHanded(self.far())
        self.assertEqual((cancelled, self.relay.told), (["b"], ["exit lost"]))

    def test_budget(self) -> None:
        """A replay's first attempt is paid for: with nothing left the death is told."""
        self.exits("a", "b", budget=0.0)
        self.fly(HELLO)
        self.far().dies()
        self.assertHanded(self.far())
        self.assertEqual(self.asked, "a")

    def test_budgetAfterSilence(self) -> None:
        """After silence the same; the silent one is waited for."""
        self.exits("a", "b", budget=0.0)
        self.fly(HELLO)
        self.clock.advance(SILENCE)
        self.assertFlies()
        self.assertEqual(self.asked, "a")
        self.clock.advance(6)
        self.assertHanded(self.far())

    def test_rounding(self) -> None:
        """Whatever the clock shows, a flight that waits for 10 s is handed over and not moved."""
        for start in (0.1, 1.1, 12345.678, 9876543.21, 1e9 / 3, 2**40 + 0.3):
            self.setUp()
            self.clock.advance(start)
            self.fly()
            self.clock.advance(10)
            self.clock.advance(0.001)
            self.assertHanded(self.far())
            self.assertEqual(self.asked, "a")


class OrderTests(FlightCase):
    """Over which chain it goes."""

    def dieOften(self, count: int) -> None:
        for _ in range(count):
            self.far().dies()

    def test_freshOnesFirst(self) -> None:
        """Chains that have not had it, live ones before ejected ones; then others than the last, live ones first."""
        self.exits(*"abx")
        self.eject("x")
        self.fly(HELLO)
        self.dieOften(4)
        self.assertEqual(self.asked, "abxab")

    def test_anotherThanTheLast(self) -> None:
        """With two exits they take turns."""
        self.exits(*"ab")
        self.fly(HELLO)
        self.dieOften(5)
        self.assertEqual(self.asked, "ababa")

    def test_lastIsNotAskedAgain(self) -> None:
        """The chain it died on is not asked again behind the others' failure, however long that takes."""
        self.exits(*"ab")
        self.script("b", "PS-UP02")
        self.fly(HELLO)
        self.far().dies()
        self.clock.pump([0.05] * 70)
        self.assertEqual(set(self.asked[1:]), {"b"})
        self.assertHanded(self.far(0))

    def test_restartingExit(self) -> None:
        """Another that fails is asked again within the search's 3 s: it may be just starting."""
        self.exits(*"ab")
        self.script("b", "PS-UP02", "PS-UP02", "yes")
        self.fly(HELLO)
        self.far().dies()
        self.clock.pump([0.05] * 20)
        self.assertEqual(self.asked, "abbb")
        self.assertEqual(self.far().got, HELLO)

    def test_itselfTwice(self) -> None:
        """One exit alone, a rotating gateway, is asked again itself, at most twice."""
        self.exits("a")
        self.fly(HELLO)
        self.dieOften(2)
        self.assertFlies()
        self.assertEqual(self.far().got, HELLO)
        self.far().dies()
        self.clock.pump([0.05] * 70)
        self.assertEqual(self.asked, "aaa")
        self.assertHanded(self.far())

    def test_itselfFails(self) -> None:
        """Twice is twice, even where it can't be reached then."""
        self.exits("a")
        self.script("a", "yes", "PS-UP02")
        self.fly(HELLO)
        self.far().dies()
        self.clock.pump([0.05] * 70)
        self.assertEqual(self.asked, "aaa")
        self.assertHanded(self.far(0))

    def test_itselfAfterTheEjected(self) -> None:
        """Ejected ones are asked before."""
        self.exits(*"ax")
        self.eject("x")
        self.script("x", "PS-UP02")
        self.fly(HELLO)
        self.far().dies()
        self.assertEqual(self.asked, "axa")
        self.dieOften(1)
        self.assertEqual(self.asked, "axaxa")
        self.dieOften(1)
        self.clock.pump([0.05] * 70)
        self.assertEqual(self.asked, "axaxax")
        self.assertHanded(self.far())

    def test_onlyEjectedOnes(self) -> None:
        """Where none is live, those that may still be asked count as live: one alone is asked again itself."""
        self.exits("a")
        self.eject("a")
        self.fly(HELLO)
        self.dieOften(3)
        self.assertEqual(self.asked, "aaa")

    def test_neverDirect(self) -> None:
        """Never where that is the direct route: the destination itself has ended it."""
        self.exits("a", "direct", direct=("direct",))
        self.eject("a")
        self.script("a", "PS-UP02")
        self.fly(HELLO)
        self.assertEqual(self.reach.asked, ["direct"])
        self.far().dies()
        self.clock.pump([0.05] * 70)
        self.assertEqual(self.reach.asked, ["direct", "a"])
        self.assertHanded(self.far())

    def test_atOnce(self) -> None:
        """An exit that is dead already when it is found: on to the next."""
        dead = Far()
        dead.dies()
        way = pending()
        self.script("b", lambda: dead)
        self.script("c", way)
        near = self.fly(HELLO)
        self.far().dies()
        self.assertEqual(self.asked, "abc")
        near.leaves()
        self.assertHanded(dead)
        self.assertTrue(way.called)  # cancelled
        self.finish(clientFirst=True)


class MemoryTests(FlightCase):
    """Destinations at which flights die everywhere."""

    def lose(self, deaths: int, destination: Destination = SITE, flight: bytes = GET) -> None:
        """A session whose flight dies so often."""
        self.fly(flight, destination=destination)
        for _ in range(deaths):
            self.far().dies()

    def replays(self, destination: Destination = SITE) -> bool:
        """Whether a flight that dies now goes again."""
        before = len(self.fars)
        self.lose(1, destination)
        return len(self.fars) > before + 1

    def test_everyLiveChain(self) -> None:
        """Two sessions running in which it died on every live chain: no replay for 2 s, and only there."""
        self.exits(*"ab")
        self.lose(2)
        self.assertTrue(self.replays())
        self.far().dies()
        self.assertFalse(self.replays())
        self.assertTrue(self.replays(Destination("other.example", 443)))
        self.clock.advance(FAILING_SECONDS + 0.1)
        self.assertTrue(self.replays())

    def test_fiveTimes(self) -> None:
        """Or five times, on however many."""
        self.exits(*"abcdefg")
        for _ in range(2):
            self.fly(HELLO)
            for _ in range(5):
                self.far().dies()
        self.assertFalse(self.replays())

    def test_fourTimes(self) -> None:
        """Not when it was only four times, of seven chains."""
        self.exits(*"abcdefg")
        for _ in range(2):
            self.fly(HELLO)
            for _ in range(4):
                self.far().dies()
        self.assertTrue(self.replays())

    def test_oneSuccess(self) -> None:
        """One success between lifts it, and behind it the count begins anew."""
        self.exits(*"ab")
        self.lose(2)
        self.fly(HELLO)
        self.far().says(b"x")
        self.lose(2)
        self.assertTrue(self.replays())
        self.far().dies()
        self.assertFalse(self.replays())
        self.fly(HELLO)
        self.far().says(b"x")
        self.assertTrue(self.replays())

    def test_otherEjected(self) -> None:
        """An ejected chain need not have had it; where none is live, those that may be asked must."""
        self.exits(*"ab")
        self.eject("b")
        self.script("b", "PS-UP02")
        for _ in range(2):
            self.lose(1 + ITSELF, flight=HELLO)
        self.assertFalse(self.replays())
        self.setUp()
        self.exits(*"ab")
        self.eject("a", "b")
        for _ in range(2):
            self.fly(POST)
            self.far().dies()
        self.assertTrue(self.replays())

    def test_oneGateway(self) -> None:
        """
        One gateway that gives another exit each time is as many chains as it is asked: a burst of flights of which
        some die once goes again, and only those that have died each time count.
        """
        for flight, times in ((HELLO, 1 + ITSELF), (GET, 2)):
            self.setUp()
            self.exits("a")
            for _ in range(8):
                self.assertTrue(self.replays())
            for _ in range(2):
                self.lose(times, flight=flight)
            self.assertFalse(self.replays())

    def test_silentAndSuspected(self) -> None:
        """Silence there is waited out: at 10 s the relay has it."""
        self.exits(*"ab")
        self.fly(HELLO)
        silent = self.far()
        self.clock.advance(SILENCE - 0.5)
        self.lose(2)
        self.lose(2)
        asked, joined = self.asked, len(self.relay.joined)
        self.clock.pump([0.1] * 64)
        self.assertEqual((self.asked, silent.wire.aborted, len(self.relay.joined)), (asked, False, joined))
        self.clock.advance(0.2)
        self.assertIs(self.handed, silent)


class HeldTests(FlightCase):
    """What the client sends while another way is searched for."""

    def search(self, flight: bytes = HELLO) -> Any:
        """A client whose exit has died, and the way that is searched for."""
        way = pending()
        self.script("b", way)
        near = self.fly(flight)
        self.far().dies()
        return near, way

    def test_order(self) -> None:
        """It goes behind what is sent again, once, in order; then the relay has the rest."""
        near, way = self.search()
        near.says(b"one ", b"two ")
        second = Far()
        way.callback(second)
        self.assertEqual(second.got, HELLO + b"one two ")
        near.says(b"three")
        self.assertHanded(second)
        self.assertEqual(second.got, HELLO + b"one two three")
        second.says(b"ok")
        self.finish()
        self.assertEqual((self.line["up"], self.line["down"]), (len(HELLO) + 13, 2))

    def test_bounded(self) -> None:
        """At 64 KiB the client is paused, and read again once they are on their way."""
        near, way = self.search()
        data = b"\xa5" * (HELD_LIMIT - 1)
        near.says(data)
        self.assertFalse(near.transport.paused)
        near.says(b"z")
        self.assertTrue(near.transport.paused)
        second = Far()
        way.callback(second)
        self.assertEqual(second.got, HELLO + data + b"z")
        self.assertFalse(near.transport.paused)
        self.assertHanded(second)

    def test_readAgainBehindThem(self) -> None:
        """A transport that delivers as soon as it is resumed does not overtake them."""
        near, way = self.search()
        near.says(b"1" * HELD_LIMIT)
        resume = near.transport.resumeProducing

        def resumed() -> None:
            if near.transport.paused:
                resume()
                near.says(b"2")

        near.transport.resumeProducing = resumed
        second = Far()
        way.callback(second)
        self.assertEqual(second.got[-2:], b"12")
        self.assertEqual(len(second.got), len(HELLO) + HELD_LIMIT + 1)
        second.says(b"x")
        self.finish()
        self.assertEqual(self.line["up"], len(HELLO) + HELD_LIMIT + 1)

    def test_nothingFound(self) -> None:
        """No way is found: the client is read again, and told of the death."""
        self.exits(*"ab")
        near, _ = self.search()
        near.says(bytes(HELD_LIMIT))
        self.clock.advance(3)
        self.assertHanded(self.far())
        self.assertFalse(near.transport.paused)
        self.assertEqual(self.relay.told, ["exit lost"])
        self.finish()
        self.assertEqual(self.line["up"], len(HELLO) + HELD_LIMIT)

    def test_onlyEnded(self) -> None:
        """An upstream that has said all it had to say, which is nothing, may still read: a sink gets every byte."""
        self.exits("a", "b")
        self.script("b", "PS-UP02")
        near = self.fly()
        self.far().ends()
        near.says(b"a log's ", b"first line\n")
        self.clock.pump([0.05] * 70)
        self.assertHanded(self.far())
        near.says(b"second\n")
        self.assertEqual(self.far().got, b"a log's first line\nsecond\n")
        self.assertEqual(self.relay.told, ["exit ended"])
        self.finish()
        self.assertEqual(self.line["up"], 26)

    def test_deadAgain(self) -> None:
        """Two exits die in turn: what was held goes to the third alone."""
        near, way = self.search()
        near.says(b"more")
        dead = Far()
        dead.dies()
        way.callback(dead)
        self.assertEqual((dead.got, self.far().got, self.asked), (b"", HELLO + b"more", "abc"))
        self.assertHanded(self.far())


class HealthTests(FlightCase):
    """What a flight says of its chain."""

    def setUp(self) -> None:
        super().setUp()
        self.reports: list[tuple[str, str]] = []
        self.reached: list[str] = []

        def reported(memory: Memory, health: Any, destination: Any, tried: Any, failure: Any) -> None:
            self.reports.append((health.name, failure.token))
            REPORTED(memory, health, destination, tried, failure)

        def reached(memory: Memory, health: Any, destination: Any) -> None:
            self.reached.append(health.name)
            REACHED(memory, health, destination)

        self.patch(Memory, "reported", reported)
        self.patch(Memory, "reached", reached)

    def test_success(self) -> None:
        """The first byte is the chain's success, and nothing that comes behind it is told."""
        self.fly(HELLO)
        self.assertEqual(self.reached, [])
        self.far().says(b"x")
        self.far().says(b"y")
        self.far().dies()
        self.finish()
        self.assertEqual((self.reached, self.reports), (["a"], []))

    def test_successInTheRelay(self) -> None:
        """The same where the relay has it already."""
        self.fly(POST)
        self.assertEqual(self.reached, [])
        self.far().says(b"x")
        self.assertEqual(self.reached, ["a"])
        self.finish()
        self.assertEqual(self.reports, [])

    def test_died(self) -> None:
        """A death before the first byte is a vague report; the chain that helps out has the success."""
        self.fly(HELLO)
        self.far().dies()
        self.far().says(b"x")
        self.finish()
        self.assertEqual((self.reached, self.reports), (["b"], [("a", "died")]))
        self.assertTrue(self.chain("a").health.live)

    def test_diedInTheRelay(self) -> None:
        """The same where it can't go again."""
        self.fly(POST)
        self.far().dies()
        self.finish()
        self.assertEqual((self.reached, self.reports), ([], [("a", "died")]))

    def test_fifthOfThose(self) -> None:
        """Reports count once two destinations failed there and another chain reached one: then it is ejected."""
        for number in range(6):
            self.fly(HELLO, destination=Destination(f"{number % 3}.example", 443))
            if self.fars[-1][0] == "a":
                self.far().dies()
            self.far().says(b"x")
            self.relay.finish()
            self.clock.advance(1)
        self.assertIn(("a", "died"), self.reports)
        self.assertEqual(sum(self.tunnels), 0)

    def test_unanswered(self) -> None:
        """One that is dropped for its silence is reported."""
        self.fly(HELLO)
        self.clock.advance(SILENCE)
        self.far().says(b"x")
        self.finish()
        self.assertEqual((self.reached, self.reports), (["b"], [("a", "unanswered")]))

    def test_leavesAfterSilence(self) -> None:
        """A client that had said something, and leaves after 2 s of silence, tells of the chain, vaguely."""
        for flight in (HELLO, GET, POST):
            self.setUp()
            near = self.fly(flight)
            self.clock.advance(2)
            near.leaves()
            self.finish(clientFirst=True, silence=2.0 if flight is POST else 0.0)
            self.assertEqual(self.reports, [("a", "unanswered")])

    def test_leavesSoon(self) -> None:
        """One that leaves earlier, or has said nothing, tells nothing."""
        for flight, seconds in ((HELLO, 1.9), (b"", 5.0), (GET, 0.0), (b"", 100.0)):
            self.setUp()
            near = self.fly(flight) if flight else self.fly()
            self.clock.advance(seconds)
            near.leaves()
            self.finish(clientFirst=True)
            self.assertEqual((self.reached, self.reports), ([], []))

    def test_sinceTheLastWord(self) -> None:
        """Silence begins with the client's last word, not with its first."""
        near = self.fly(HELLO[:9])
        self.clock.advance(3)
        near.says(HELLO[9:])
        self.clock.advance(1)
        near.leaves()
        self.finish(clientFirst=True)
        self.assertEqual(self.reports, [])

    def test_behindTheClientsEnd(self) -> None:
        """What ends after its client's end says nothing, however late: it had not been silent when the client ended."""
        near = self.fly(GET)
        near.ends()
        self.clock.advance(30)
        self.far().dies()
        self.finish(clientFirst=True, silence=0.0)
        self.assertEqual(self.reports, [])

    def test_lateWord(self) -> None:
        """A client that idled and then speaks leaves at once: nobody was silent. After 2 s somebody was."""
        for quiet, reports in ((0.5, []), (2.5, [("a", "unanswered")])):
            self.setUp()
            near = self.fly()
            self.clock.advance(300)
            near.says(b"hello")
            self.clock.advance(quiet)
            near.leaves()
            self.finish(clientFirst=True, silence=quiet)
            self.assertEqual(self.reports, reports)

    def test_off(self) -> None:
        """Without replay the chain's health is told the same."""
        for clientFirst, silence, reports in (
            (False, 0.0, [("a", "died")]),
            (True, 3.0, [("a", "unanswered")]),
            (True, 0.5, []),
        ):
            self.setUp()
            self.exits("a", "b", replay=False)
            self.fly(HELLO)
            self.clock.advance(9)
            self.finish(clientFirst=clientFirst, silence=silence)
            self.assertEqual(self.reports, reports)


class JournalTests(FlightCase):
    """What the journal and the counters show."""

    def test_line(self) -> None:
        """Bytes once, however often they went; each attempt; the name in the ClientHello; how often it went again."""
        near = self.fly(HELLO)
        self.clock.advance(0.25)
        self.far().dies()
        self.assertEqual(self.tunnels, [0, 1, 0])
        self.far().says(b"answer")
        near.says(b"rest")
        self.finish()
        line = self.line
        self.assertEqual((line["up"], line["down"], line["replays"]), (len(HELLO) + 4, 6, 1))
        self.assertEqual((line["sni"], line["relay"], line["outcome"]), ("index.example", "fake", "ok"))
        self.assertEqual(
            [(each["chain"], each["outcome"], each["ms"]) for each in line["attempts"]],
            [("a", "ok", 0), ("a", "died", 250.0), ("b", "ok", 0)],
        )
        self.assertEqual(self.gateway.counts.replays, 1)

    def test_nameBehindAHello(self) -> None:
        """The name stands there also where the flight could not go again."""
        self.fly(EARLY_HELLO)
        self.finish()
        self.assertEqual(self.line["sni"], "index.example")

    def test_tunnels(self) -> None:
        """Each end counts a tunnel down once: also one that is over during the call that joins it."""
        join = self.relay.join

        def over(near: Any, far: Any, done: Any, heard: Any = None) -> str:
            kind = join(near, far, done, heard)
            self.relay.finish()
            return kind

        self.relay.join = over  # type: ignore[method-assign]
        self.fly(POST)
        self.assertEqual((self.tunnels, len(self.lines)), ([0, 0, 0], 1))

    def test_broken(self) -> None:
        """An error of ours in a search is logged, and the tunnel goes on as it is."""
        self.script("b", ValueError("ours"))
        self.fly(HELLO)
        self.far().dies()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertHanded(self.far())
        self.finish()

    def test_cameToNothing(self) -> None:
        """A tunnel without a byte back says in words which upstream it was; of a direct one the outcome says all."""
        died = "upstream a said yes for index.example:443 and ended before a byte came back"
        for direct, reason in (((), died), (("a",), None)):
            self.setUp()
            self.exits("a", "b", direct=direct)
            self.fly(POST)
            self.far().dies()
            self.finish()
            self.assertEqual(self.line.get("reason"), reason)

    def test_stayedSilent(self) -> None:
        """The same of one that the client gave up; one that spoke needs no reason."""
        near = self.fly(POST)
        self.clock.advance(2)
        near.leaves()
        self.finish(clientFirst=True, silence=2.0)
        self.assertEqual(self.line["reason"], "upstream a said yes for index.example:443 and nothing came back")
        self.setUp()
        self.fly(POST)
        self.far().says(b"x")
        self.finish()
        self.assertNotIn("reason", self.line)

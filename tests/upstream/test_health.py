"""A chain's health: every transition, the times, and what the log says (behaviour, section 5, "Health")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.model import Destination, Login, Secret
from pipsocks.refusal import Refusal
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Network
from pipsocks.upstream.health import Event, Health, State, Try
from pipsocks.upstream.settings import ChainSettings, HopSettings

REFUSED = Refusal("PS-UP02", chain="hk1", hop="hop.example:1080")
LOGIN = Refusal("PS-UP10", chain="hk1", hop="hop.example:1080")
PROBE = Refusal("PS-UP33", chain="hk1", where="index.example:443", detail="closed in the handshake")

L, E, B = State.LIVE, State.EJECTED, State.BARRED
ET, BT, OUT = State.EJECTED_TRIAL, State.BARRED_TRIAL, State.OUT

# What becomes of a chain, written down from behaviour.md by hand: a row for each state, a column for each event.
EVENTS = (
    Event.SUCCESS, Event.BLAME, Event.FIFTH, Event.LOGIN, Event.TRIED, Event.UNTOLD, Event.PROBED, Event.UNPROBED,
)  # fmt: skip
EXPECTED: dict[State, tuple[State, ...]] = {
    #     success blame fifth login tried untold probed unprobed
    L:   (L,      L,    E,    B,    L,    L,     L,     OUT),
    E:   (L,      E,    E,    B,    ET,   E,     L,     OUT),
    ET:  (L,      E,    E,    B,    ET,   E,     L,     OUT),
    B:   (L,      B,    B,    B,    BT,   B,     L,     OUT),
    BT:  (L,      E,    E,    B,    BT,   B,     L,     OUT),
    OUT: (OUT,    OUT,  OUT,  OUT,  OUT,  OUT,   L,     OUT),
}  # fmt: skip


class HealthCase(SynchronousTestCase):
    """A chain called hk1, a clock, and what was logged."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.health = Health("hk1", self.clock.seconds)
        self.lines: list[str] = []
        observe = self._logged
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def _logged(self, event: Any) -> None:
        if event.get("log_namespace") == "pipsocks.upstream.health":
            self.lines.append(event["log_format"].format(**event))

    def fail(self, times: int = 1, failure: Refusal = REFUSED) -> None:  # type: ignore[override]
        """So many attempts that fail by the chain's own fault."""
        for _ in range(times):
            tried = self.health.begin()
            tried.blamed(failure)
            tried.untold()

    def eject(self) -> None:
        """Five in a row."""
        self.fail(5)
        self.assertIs(self.health.state, E)

    def bar(self) -> None:
        self.health.begin().barred(LOGIN)

    def untilDue(self) -> None:
        """Let the time of an ejection pass."""
        self.clock.advance(self.health.due - self.clock.seconds())

    def stretch(self, share: float) -> Any:
        """Draw the jitter, from 0 to 1."""

        def uniform(least: float, most: float) -> float:
            return least + share * (most - least)

        return mock.patch("pipsocks.upstream.health.random.uniform", uniform)


class TableTests(HealthCase):
    """Each event in each state, driven by what attempts and probes tell."""

    def reach(self, state: State) -> Try:
        """Bring the chain into `state`; gives the attempt that an event is to come from: the trial, where one runs."""
        if state in (E, ET):
            self.eject()
        elif state in (B, BT):
            self.bar()
        elif state is OUT:
            self.health.probed(PROBE)
        if state in (ET, BT):
            self.untilDue()
        tried = self.health.begin()
        self.assertIs(self.health.state, state)
        return tried

    def happen(self, event: Event, tried: Try) -> None:
        def blame() -> None:
            tried.blamed(REFUSED)

        def fifth() -> None:
            tries = [tried, *(self.health.begin() for _ in range(4))]
            for each in tries:
                each.blamed(REFUSED)

        def begin() -> None:
            if self.health.state in (E, B):
                self.untilDue()
            self.health.begin()

        happens: dict[Event, Callable[[], None]] = {
            Event.SUCCESS: tried.succeeded,
            Event.BLAME: blame,
            Event.FIFTH: fifth,
            Event.LOGIN: lambda: tried.barred(LOGIN),
            Event.TRIED: begin,
            Event.UNTOLD: tried.untold,
            Event.PROBED: lambda: self.health.probed(None),
            Event.UNPROBED: lambda: self.health.probed(PROBE),
        }
        happens[event]()

    def test_whole(self) -> None:
        """Nothing is left out: every state, every event."""
        self.assertEqual(set(EXPECTED), set(State))
        self.assertEqual(set(EVENTS), set(Event))
        for state, row in EXPECTED.items():
            for event, expected in zip(EVENTS, row, strict=True):
                self.health = Health("hk1", self.clock.seconds)
                tried = self.reach(state)
                self.happen(event, tried)
                self.assertIs(self.health.state, expected, f"{state} {event}")
                self.assertEqual(self.health.reason is None, expected is L, f"{state} {event}")

    def test_strangersFailingChangesNothing(self) -> None:
        """An attempt that is not the trial, on a chain that is not live, changes nothing when it fails by its fault."""
        for state in (E, ET, B, BT, OUT):
            self.health = Health("hk1", self.clock.seconds)
            self.reach(state)
            due = self.health.due
            for _ in range(6):
                stranger = self.health.begin() if state in (ET, BT) else Try(self.health, -1)
                stranger.blamed(REFUSED)
                stranger.untold()
                self.assertEqual((self.health.state, self.health.due), (state, due), f"{state}")

    def test_strangersSuccess(self) -> None:
        """One that was asked as the last, though it was ejected, and succeeds, is back."""
        for state in (E, ET, B, BT):
            self.health = Health("hk1", self.clock.seconds)
            self.reach(state)
            self.health.begin().succeeded()
            self.assertIs(self.health.state, L, f"{state}")


class EjectionTests(HealthCase):
    """Five in a row, and how long for."""

    def test_fiveInARow(self) -> None:
        """The fifth ejects; four do not."""
        self.fail(4)
        self.assertTrue(self.health.live)
        self.fail()
        self.assertFalse(self.health.live)
        self.assertTrue(self.health.askable)

    def test_successResets(self) -> None:
        """A success among them begins the count anew."""
        self.fail(4)
        self.health.begin().succeeded()
        self.fail(4)
        self.assertTrue(self.health.live)
        self.fail()
        self.assertFalse(self.health.live)

    def test_untoldResetsNothing(self) -> None:
        """What ends without success or blame is no success."""
        self.fail(4)
        self.health.begin().untold()
        self.fail()
        self.assertFalse(self.health.live)

    def test_times(self) -> None:
        """30 s, 60 s, 90 s and so on, at most 300 s, each ± 10 %."""
        for share in (0.0, 0.5, 1.0):
            self.health = Health("hk1", self.clock.seconds)
            with self.stretch(share):
                self.fail(5)
                for n in range(1, 14):
                    length = self.health.due - self.clock.seconds()
                    expected = min(300.0, min(30.0 * n, 300.0) * (0.9 + 0.2 * share))
                    self.assertAlmostEqual(length, expected, msg=f"n {n}, {share}")
                    self.clock.advance(length - 0.001)
                    self.assertFalse(self.health.live)
                    self.clock.advance(0.001)
                    self.assertTrue(self.health.live)
                    self.fail()  # the trial

    def test_successForgetsHowOften(self) -> None:
        """After a success the next ejection lasts 30 s again."""
        with self.stretch(0.5):
            self.eject()
            self.untilDue()
            self.fail()
            self.assertAlmostEqual(self.health.due - self.clock.seconds(), 60.0)
            self.untilDue()
            self.health.begin().succeeded()
            self.eject()
            self.assertAlmostEqual(self.health.due - self.clock.seconds(), 30.0)

    def test_jitterIsDrawn(self) -> None:
        """Chains that fail together do not all come back together."""
        dues = set()
        for _ in range(20):
            self.health = Health("hk1", self.clock.seconds)
            self.eject()
            self.assertTrue(27.0 <= self.health.due <= 33.0)
            dues.add(self.health.due)
        self.assertGreater(len(dues), 1)

    def test_liveAllAlong(self) -> None:
        """Failures of attempts that began before it was ejected do not count once it is back."""
        early = [self.health.begin() for _ in range(10)]
        for tried in early[:5]:
            tried.blamed(REFUSED)
        self.assertFalse(self.health.live)
        self.health.begin().succeeded()
        for tried in early[5:]:
            tried.blamed(REFUSED)
        self.assertTrue(self.health.live)
        self.fail(4)
        self.assertTrue(self.health.live)

    def test_outInBetween(self) -> None:
        """Nor where a probe had put it out in between."""
        early = [self.health.begin() for _ in range(5)]
        self.health.probed(PROBE)
        self.health.probed(None)
        for tried in early:
            tried.blamed(REFUSED)
        self.assertTrue(self.health.live)

    def test_begunWhileEjected(self) -> None:
        """Nor of those that began while it was ejected."""
        self.eject()
        early = [self.health.begin() for _ in range(5)]
        self.health.begin().succeeded()
        for tried in early:
            tried.blamed(REFUSED)
        self.assertTrue(self.health.live)


class TrialTests(HealthCase):
    """The one attempt that decides."""

    def test_once(self) -> None:
        """When its time is up one session gets it; the others go elsewhere meanwhile."""
        self.eject()
        self.untilDue()
        self.assertTrue(self.health.live)
        self.health.begin()
        self.assertFalse(self.health.live)
        self.assertTrue(self.health.askable)

    def test_given(self) -> None:
        """A trial that tells neither goes to the next session, as often as it takes."""
        self.eject()
        self.untilDue()
        for _ in range(3):
            self.assertTrue(self.health.live)
            trial = self.health.begin()
            self.assertFalse(self.health.live)
            trial.untold()
        self.health.begin().succeeded()
        self.assertIs(self.health.state, L)

    def test_lateWords(self) -> None:
        """What a former trial says later changes nothing, unless it is a success, or blame."""
        self.eject()
        self.untilDue()
        former = self.health.begin()
        former.untold()
        self.health.begin()
        due = self.health.due
        former.barred(LOGIN)
        former.untold()
        self.assertEqual((self.health.state, self.health.due), (ET, due))
        former.succeeded()
        self.assertIs(self.health.state, L)

    def test_lentAfterHalfAMinute(self) -> None:
        """A trial that idles, for an hour perhaps, does not keep the chain out for that long."""
        self.eject()
        self.untilDue()
        idle = self.health.begin()
        self.clock.advance(29.9)
        self.assertFalse(self.health.live)
        self.clock.advance(0.2)
        self.assertTrue(self.health.live)
        second = self.health.begin()
        self.assertFalse(self.health.live)
        idle.untold()
        self.assertIs(self.health.state, ET)
        second.untold()
        self.assertIs(self.health.state, E)
        self.assertTrue(self.health.live)

    def test_lateBlame(self) -> None:
        """
        A trial that reported its destination ends without success or blame; once another chain has reached that
        destination it is blame after all, and ejects the chain anew, n one higher. Of several such the first counts.
        """
        for bring, first in ((self.eject, 60.0), (self.bar, 30.0)):
            self.health = Health("hk1", self.clock.seconds)
            with self.stretch(0.5):
                bring()
                self.untilDue()
                reported = []
                for _ in range(3):
                    reported.append(self.health.begin())
                    reported[-1].untold()
                running = self.health.begin()
                for trial in reported:
                    trial.blamed(REFUSED)
                self.assertIs(self.health.state, E)
                self.assertAlmostEqual(self.health.due - self.clock.seconds(), first)
                running.blamed(REFUSED)
                running.untold()
                self.assertAlmostEqual(self.health.due - self.clock.seconds(), first)

    def test_lateBlameOfWhatIsOver(self) -> None:
        """Not where the chain has been live again in between, or was put out by a probe."""
        for settle in (lambda: self.health.begin().succeeded(), lambda: self.health.probed(PROBE)):
            self.health = Health("hk1", self.clock.seconds)
            self.eject()
            self.untilDue()
            former = self.health.begin()
            former.untold()
            settle()
            state = self.health.state
            for _ in range(6):
                former.blamed(REFUSED)
            self.assertIs(self.health.state, state)

    def test_blamedTwice(self) -> None:
        """A trial is blamed once, whatever it says again."""
        self.eject()
        self.untilDue()
        trial = self.health.begin()
        trial.blamed(REFUSED)
        due = self.health.due
        trial.blamed(REFUSED)
        trial.untold()
        self.assertEqual((self.health.state, self.health.due), (E, due))


class SuspectTests(HealthCase):
    """A chain of which only failures come, whosever they are."""

    def doubt(self, times: int) -> None:
        """So many failures that may be the destination's."""
        for _ in range(times):
            tried = self.health.begin()
            tried.doubted()
            tried.untold()

    def test_fiveFailures(self) -> None:
        """After five of any kind it is suspect, for a minute after the last; it is live all the same."""
        self.doubt(4)
        self.assertFalse(self.health.suspect)
        self.doubt(1)
        self.assertEqual((self.health.suspect, self.health.live, self.lines), (True, True, []))
        self.clock.advance(59)
        self.assertTrue(self.health.suspect)
        self.clock.advance(1)
        self.assertFalse(self.health.suspect)
        self.doubt(1)
        self.assertTrue(self.health.suspect)

    def test_success(self) -> None:
        """A success ends it, and begins the count anew."""
        self.doubt(5)
        self.health.begin().succeeded()
        self.doubt(4)
        self.assertFalse(self.health.suspect)

    def test_outdone(self) -> None:
        """Five failures where others did not fail put it behind them: for a minute after the last, or until success."""
        self.health.begin().outdone(4)
        self.doubt(5)
        self.assertFalse(self.health.outdone)
        self.health.begin().outdone(1)
        self.assertEqual((self.health.outdone, self.health.live), (True, True))
        self.clock.advance(60)
        self.assertFalse(self.health.outdone)
        self.health.begin().outdone(1)
        self.assertTrue(self.health.outdone)
        self.health.begin().succeeded()
        self.health.begin().outdone(4)
        self.assertFalse(self.health.outdone)

    def test_ejected(self) -> None:
        """Ejection is more, and ends it: the trial that is due has its place."""
        self.doubt(5)
        self.health.begin().outdone(5)
        self.fail(5)
        self.assertEqual((self.health.suspect, self.health.outdone, self.health.live), (False, False, False))
        self.doubt(9)
        self.health.begin().outdone(9)
        self.clock.advance(33)
        self.assertEqual((self.health.suspect, self.health.outdone, self.health.live), (False, False, True))


class LoginTests(HealthCase):
    """A hop that refuses our login."""

    def test_fiveMinutes(self) -> None:
        """It is out for 300 s at once, and not even asked as the last; then there is one trial."""
        self.bar()
        self.assertFalse(self.health.live)
        self.assertFalse(self.health.askable)
        self.assertIs(self.health.reason, LOGIN)
        self.clock.advance(299.9)
        self.assertFalse(self.health.askable)
        self.clock.advance(0.2)
        self.assertTrue(self.health.live)
        self.assertTrue(self.health.askable)
        trial = self.health.begin()
        self.assertFalse(self.health.askable)
        trial.barred(LOGIN)
        self.clock.advance(299.9)
        self.assertFalse(self.health.live)

    def test_afterwardsABlame(self) -> None:
        """Its trial may find the hop dead: ejected, for the first time."""
        self.bar()
        self.clock.advance(300.0)
        with self.stretch(0.5):
            self.fail()
        self.assertIs(self.health.state, E)
        self.assertAlmostEqual(self.health.due - self.clock.seconds(), 30.0)


class ProbeTests(HealthCase):
    """Out by a probe."""

    def test_outAndBack(self) -> None:
        """Only a probe that comes through brings it back, since a captive portal lets every attempt succeed."""
        self.health.probed(PROBE)
        self.assertFalse(self.health.live)
        self.assertTrue(self.health.askable)
        self.health.begin().succeeded()
        self.clock.advance(100_000.0)
        self.assertFalse(self.health.live)
        self.health.probed(None)
        self.assertTrue(self.health.live)

    def test_lateness(self) -> None:
        """Ejected ones are asked before those that are out, soonest due first."""
        first, second, out = (Health(name, self.clock.seconds) for name in "abc")
        out.probed(PROBE)
        for health in (first, second):
            for _ in range(5):
                health.begin().blamed(REFUSED)
            self.clock.advance(10.0)
        self.assertEqual(sorted((out, second, first), key=lambda each: each.lateness), [first, second, out])

    def test_row(self) -> None:
        """Four failures before do not count once it is back."""
        self.fail(4)
        self.health.probed(PROBE)
        self.health.probed(None)
        self.fail(4)
        self.assertTrue(self.health.live)


class LogTests(HealthCase):
    """What an operator reads."""

    def test_lines(self) -> None:
        """One line for each change, with the chain, the hop, and why."""
        with self.stretch(0.5):
            self.eject()
            self.untilDue()
            self.health.begin().succeeded()
            self.bar()
            self.clock.advance(300.0)
            self.health.probed(PROBE)
            self.health.probed(PROBE)
            self.health.probed(None)
        self.assertEqual(
            self.lines,
            [
                "upstream hk1 is ejected for 30 s: PS-UP02 upstream hk1 (at hop.example:1080) refused the connection",
                "upstream hk1 is back",
                "upstream hk1 is out for 300 s: PS-UP10 upstream hk1 (at hop.example:1080) refused our login",
                f"upstream hk1 is out until a probe comes through: {PROBE}",
                "upstream hk1 is back",
            ],
        )

    def test_quiet(self) -> None:
        """Failures that change nothing, and successes of a live chain, are not worth a line."""
        self.fail(4)
        self.health.begin().succeeded()
        self.health.probed(None)
        self.assertEqual(self.lines, [])

    def test_noSecrets(self) -> None:
        """A chain without a name is called by its hop, never with the login in front of it."""
        hop = HopSettings("socks5h", Destination("hop.example", 1080), Login("joe", Secret("hunter2")))
        chain = Chain(ChainSettings((hop,)), Network(self.clock))
        failure = Refusal("PS-UP10", chain=chain.name, hop="hop.example:1080", said="wrong: joe:hunter2")
        chain.health.begin().barred(failure)
        self.assertEqual(
            self.lines,
            ["upstream hop.example:1080 is out for 300 s: PS-UP10 upstream hop.example:1080 refused our login"],
        )
        self.assertNotIn("hunter2", repr(chain) + repr(chain.health))

"""The dispatcher does what a simple model of it does, whatever is added, removed and dispatched, also meanwhile."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from xmlsocket.flash.events import Event, EventDispatcher

NODES, TYPES, NAMES = 3, ("a", "b"), ("x", "y", "z")

changes = st.one_of(
    st.tuples(
        st.just("add"),
        st.integers(0, NODES - 1),
        st.sampled_from(TYPES),
        st.sampled_from(NAMES),
        st.booleans(),
        st.integers(-2, 2),
    ),
    st.tuples(
        st.just("remove"),
        st.integers(0, NODES - 1),
        st.sampled_from(TYPES),
        st.sampled_from(NAMES),
        st.booleans(),
    ),
)
dispatches = st.tuples(st.just("dispatch"), st.integers(0, NODES - 1), st.sampled_from(TYPES), st.booleans())
effects = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.integers(0, NODES - 1)),
    st.sampled_from(("stop", "stop at once", "prevent", "fail")) | changes,
    max_size=4,
)


class Model:
    """Nodes in a row, each the parent of the next; a registration is a line in one list, in order of arrival."""

    def __init__(self, effects):
        self.lines = []  # (node, type, name, capture, priority)
        self.effects = effects

    def add(self, node, type, name, capture, priority):
        if not any(line[:4] == (node, type, name, capture) for line in self.lines):
            self.lines.append((node, type, name, capture, priority))

    def remove(self, node, type, name, capture):
        self.lines = [line for line in self.lines if line[:4] != (node, type, name, capture)]

    def has(self, node, type):
        return any(line[:2] == (node, type) for line in self.lines)

    def dispatch(self, origin, type, bubbles):
        log, is_prevented = [], False
        stops = [(node, 1) for node in range(origin)] + [(origin, 2)]
        stops += [(node, 3) for node in reversed(range(origin))] if bubbles else []
        for node, phase in stops:
            here = [line for line in self.lines if line[:2] == (node, type) and line[3] == (phase == 1)]
            stopped = False
            for line in sorted(here, key=lambda line: -line[4]):
                log.append((line[2], node, phase))
                effect = self.effects.get((line[2], node))
                is_prevented = is_prevented or effect == "prevent"
                stopped = stopped or effect in ("stop", "stop at once")
                if isinstance(effect, tuple):
                    getattr(self, effect[0])(*effect[1:])
                if effect == "stop at once":
                    break
            if stopped:
                break
        return log, not is_prevented


class Real:
    def __init__(self, effects):
        self.nodes = [EventDispatcher() for _ in range(NODES)]
        for parent, node in zip(self.nodes, self.nodes[1:], strict=False):
            node.parent = parent
        self.log = []
        self.effects = effects
        self.listeners = {name: (lambda event, name=name: self.listen(name, event)) for name in NAMES}

    def listen(self, name, event):
        node = self.nodes.index(event.currentTarget)
        self.log.append((name, node, event.eventPhase))
        effect = self.effects.get((name, node))
        if effect == "stop":
            event.stopPropagation()
        elif effect == "stop at once":
            event.stopImmediatePropagation()
        elif effect == "prevent":
            event.preventDefault()
        elif effect == "fail":
            raise RuntimeError("on purpose")
        elif effect:
            getattr(self, effect[0])(*effect[1:])

    def add(self, node, type, name, capture, priority):
        self.nodes[node].addEventListener(type, self.listeners[name], capture, priority)

    def remove(self, node, type, name, capture):
        self.nodes[node].removeEventListener(type, self.listeners[name], capture)

    def dispatch(self, origin, type, bubbles):
        self.log = []
        event = Event(type, bubbles, True)
        result = self.nodes[origin].dispatchEvent(event)
        assert (event.target is None) == (not self.log)
        return self.log, result


@settings(max_examples=300, deadline=None)
@given(st.lists(changes | dispatches, max_size=30), effects)
def test_the_dispatcher_agrees_with_its_model(actions, effects):
    model, real = Model(effects), Real(effects)
    for action, *arguments in actions:
        assert getattr(real, action)(*arguments) == getattr(model, action)(*arguments)
    for node in range(NODES):
        for type in TYPES:
            assert real.nodes[node].hasEventListener(type) == model.has(node, type)
            ancestors = range(node + 1)
            assert real.nodes[node].willTrigger(type) == any(model.has(above, type) for above in ancestors)

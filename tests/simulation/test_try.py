# ruff: noqa
import time, os, sys, collections


def test_try(stage):
    from tests.simulation.scenarios import scenario_of

    a, b = (int(x) for x in os.environ.get("SEEDS", "0:25").split(":"))
    fam = collections.Counter()
    for seed in range(a, b):
        t = time.process_time()
        try:
            w = stage.play(seed)
        except BaseException as e:
            import traceback

            traceback.print_exc(limit=-6)
            print(seed, scenario_of(seed).family, "RAISED", type(e), e)
            continue
        dt = time.process_time() - t
        fam[w.scenario.family] += dt
        print(
            f"{seed} {w.scenario.family} cpu={dt:.2f} virt={w.ended_at:.0f} trail={len(w.trail)} states={list(w.states().values())} problems={w.problems[:3]} refused={dict(w.refused)} strikes={[(s.act, s.at, s.struck) for s in w.strikes.done]}"
        )
        if os.environ.get("TRAIL"):
            for t in w.trail:
                print("   ", round(t.at, 2), t.stream[-6:], t.kind, str(t.payload)[:200])
    print(fam)

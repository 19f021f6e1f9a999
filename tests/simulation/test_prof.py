# ruff: noqa
def test_prof(stage):
    import cProfile, pstats, time
    from tests.simulation.scenarios import scenario_of

    stage.play(2)
    p = cProfile.Profile()
    t = time.process_time()
    p.enable()
    for s in (0, 2, 3, 6):
        stage.play(s)
    p.disable()
    print("cpu", time.process_time() - t)
    st = pstats.Stats(p)
    st.sort_stats("cumulative").print_stats(70)
    st.sort_stats("tottime").print_stats(40)

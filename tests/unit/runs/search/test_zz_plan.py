from pathlib import Path
import time, statistics
from sqlalchemy import event, text
import pytest
from bench.tracking.finding_data import filled
src = Path('/tmp/h/finding/work/meas.py').read_text()
a = src.index("Q={"); b = src.index("names=sys.argv")
def test_plan(postgres, tmp_path, monkeypatch):
    from plimsoll.records.tracking.find import SearchRuns
    from plimsoll.records.tracking.experiment import ListExperiments
    monkeypatch.setenv("PLIMSOLL_DATABASE", postgres.fresh())
    w = filled(tmp_path / "home", 10000, 2)
    a_ = w.identify(w.token("owner"))
    exps=[e.id for e in w.do(ListExperiments(),a_) if e.name.startswith('team')]
    ns = {"one": (exps[0],)}
    exec(src[a:b], ns)
    out = open("/tmp/h/finding/work/pg.txt", "w")
    eng = w.stores.database._engine
    with eng.connect() as c:
        c.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    log = []
    @event.listens_for(eng, "before_cursor_execute")
    def b_(conn, cur, stmt, params, ctx, many): ctx._t = time.perf_counter()
    @event.listens_for(eng, "after_cursor_execute")
    def f_(conn, cur, stmt, params, ctx, many): log.append((time.perf_counter() - ctx._t, stmt, params))
    for k, q in ns["Q"].items():
        for _ in range(3): w.do(SearchRuns(**q, limit=100), a_)
        del log[:]
        t = time.perf_counter(); r = w.do(SearchRuns(**q, limit=100), a_); t = time.perf_counter() - t
        print(f"===== {k} {1e3*t:.1f} ms rows {len(r.runs)}", file=out)
        for dt, stmt, params in list(log):
            if "key_0" not in stmt: continue
            print(f"-- {1e3*dt:.2f} ms", file=out)
            with eng.connect() as c:
                for row in c.exec_driver_sql("EXPLAIN (ANALYZE, COSTS OFF, SUMMARY OFF) " + stmt, params): print("    ", row[0], file=out)
    out.close()
    w.close()

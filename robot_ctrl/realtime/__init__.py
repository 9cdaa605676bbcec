"""The replanning loop in real time: control, planning, recording and supervision, each in a process of its own."""

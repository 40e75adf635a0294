"""How the stages and commands do their work: functions of arrays, paths and typed params."""

"""How the stages do their work: functions of arrays, paths and typed params."""

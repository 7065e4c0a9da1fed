# Only a short way to tasks.py, which also runs where there is no make: python tasks.py help
# Arguments of a task: make test ARGS="-k login"

# The first Python on the PATH that is new enough; another one: make run PYTHON=/path/to/python
PYTHON ?= $(or $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
	done),python3)

TASKS := help run test test-portable check fuzz kill bench demo provider install openapi lock

.PHONY: $(TASKS)
$(TASKS):
	@$(PYTHON) tasks.py $@ $(ARGS)

"""How operators publish: new interpreters, releases, previews, rollback, retirement."""

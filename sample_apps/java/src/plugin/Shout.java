package plugin;

/** A plug-in found by the service loader. */
public final class Shout implements sample.Speaker {
    @Override
    public String say(String text) {
        return text.toUpperCase(java.util.Locale.ROOT) + "!";
    }
}
